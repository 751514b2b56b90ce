/* trace: the event log, append-only JSON Lines in segments trace/<first seq, 12 digits>.jsonl.
 *
 * Writers hold the store lock and write each line at the offset its journal record names; a redo
 * writes the same bytes. Readers take no lock: they read to the last newline. Segments are never
 * rewritten, and never cut below an acknowledged event. */
#ifndef AGT_TRACE_PART_H
#define AGT_TRACE_PART_H

#include "event.h"
#include "../sys/sys.h"

#define AGT_SEGMENT_NAME 32
#define AGT_SEGMENT_MAX  (64u * 1024 * 1024) /* a segment is closed once it is that long */

/* No segment of ours gets that long: it grows by less than a journal behind AGT_SEGMENT_MAX. What
 * tells of a later byte is no record of ours; believed, it would make a hole of any size. */
#define AGT_SEGMENT_LONGEST (2u * AGT_SEGMENT_MAX)

/* Where the trace ends: the next line goes to byte `offset` of the segment that begins with seq
 * `segment`, and its `prev` is `prev` (32 zero bytes at the very beginning). */
typedef struct agt_trace_end {
    uint64_t segment, offset;
    unsigned char prev[32];
} agt_trace_end;

AGT_PRIVATE void agt__segment_name(uint64_t first_seq, char out[AGT_SEGMENT_NAME]);
AGT_PRIVATE bool agt__segment_parse(const char *name, uint64_t *first_seq);

/* The first seqs of all segments, ascending. Zero-initialise, set mem. */
typedef struct agt_segments {
    const agt_mem *mem;
    uint64_t *v;
    size_t count, cap;
} agt_segments;

/* Lists the folder anew, foreign names left out; AGT_FD_NONE is a folder without segments. On
 * failure the list is empty. */
AGT_PRIVATE agt_status agt__segments_list(agt_segments *all, const agt_sys *sys, agt_fd dir,
                                          agt_error *err);
AGT_PRIVATE void agt__segments_free(agt_segments *all);

/* ---- writing ---- */

typedef struct agt_trace_writer {
    const agt_sys *sys;
    agt_fd dir; /* borrowed: the trace folder */
    agt_fd fd;  /* of the open segment, or AGT_FD_NONE */
    uint64_t segment, reserved_end;
    bool sure; /* fd is the file others see: bytes lie in it that recovery never cuts */
} agt_trace_writer;

AGT_PRIVATE void agt__trace_writer_init(agt_trace_writer *w, const agt_sys *sys, agt_fd dir);
AGT_PRIVATE void agt__trace_writer_close(agt_trace_writer *w);
/* Makes sure n more bytes at `offset` of the segment will fit (reserve; NOSYS is fine), making the
 * segment's file if there is none. */
AGT_PRIVATE agt_status agt__trace_reserve(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                          size_t n, agt_error *err);
/* Writes n bytes (whole lines) at their place. */
AGT_PRIVATE agt_status agt__trace_put(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                      const void *lines, size_t n, agt_error *err);
/* Gives back what is reserved behind the segment's end; nothing if `offset` is not its end. Other
 * writers still count on theirs: they may be told that the disk is full a step later. */
AGT_PRIVATE agt_status agt__trace_trim(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                       agt_error *err);
/* Cuts the segment behind `offset` (recovery only: nothing acknowledged lies there) and deletes
 * later segments; cut bytes that are not all NUL are kept, all of them, as <segment>.torn.
 * AGT_CORRUPT if far more than a segment's length would have to go: then nothing does. */
AGT_PRIVATE agt_status agt__trace_cut(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                      uint64_t offset, agt_error *err);

/* ---- reading ---- */

/* A reader over all segments. Zero-copy within its window. */
typedef struct agt_trace_reader agt_trace_reader;

AGT_PRIVATE agt_status agt__trace_reader_open(agt_trace_reader **out, const agt_sys *sys,
                                              agt_fd dir, const agt_mem *mem, agt_error *err);
AGT_PRIVATE void agt__trace_reader_close(agt_trace_reader *r);
/* Places the reader so that the next line forward is the first with seq >= `seq` (binary search in
 * the right segment). */
AGT_PRIVATE agt_status agt__trace_seek(agt_trace_reader *r, uint64_t seq, agt_error *err);
AGT_PRIVATE agt_status agt__trace_seek_end(agt_trace_reader *r, agt_error *err);
/* The next whole line forward (or backward), newline included; it lives until the next call.
 * AGT_END at the end; forward, later lines are seen by calling again. Notices new segments. A line
 * is handed out whether it parses or not; of one longer than AGT_MAX_EVENT only the first
 * AGT_MAX_EVENT + 1 bytes are, which no parser takes. */
AGT_PRIVATE agt_status agt__trace_line(agt_trace_reader *r, agt_text *line, agt_error *err);
AGT_PRIVATE agt_status agt__trace_line_back(agt_trace_reader *r, agt_text *line, agt_error *err);
/* The line of exactly that seq. AGT_NOT_FOUND if the trace ends before it; AGT_CORRUPT if it is
 * missing although later ones are there. */
AGT_PRIVATE agt_status agt__trace_find(agt_trace_reader *r, uint64_t seq, agt_text *line,
                                       agt_error *err);
/* An event and where its line was seen: its segment's first seq and its byte offset there. */
typedef struct agt_event_at {
    uint64_t seq, segment, offset;
} agt_event_at;
/* As agt__trace_find, by looking there first. */
AGT_PRIVATE agt_status agt__trace_at(agt_trace_reader *r, const agt_event_at *at, agt_text *line,
                                     agt_error *err);
/* Where the line handed out last stands: its segment's first seq and its byte offset there. */
AGT_PRIVATE void agt__trace_where(const agt_trace_reader *r, uint64_t *segment, uint64_t *offset);

/* ---- checking and repairing a trace without its journal (R3 to R6) ---- */

typedef struct agt_trace_report {
    uint64_t lines, last_seq; /* valid events; the greatest seq among them */
    agt_trace_end end;        /* where the next line goes */
    uint64_t torn_bytes;      /* an unterminated, NUL or incomplete tail */
    uint64_t damaged_lines;   /* newline-terminated lines that do not parse or chain, and tails of
                               * segments that others follow */
    uint64_t first_bad_segment, first_bad_offset; /* of the first damaged line */
    bool salvageable; /* the tail is a whole valid event that only lacks its newline */
} agt_trace_report;

/* Reads everything, checks parse, seq without gaps from 1 on, and the prev chain. Damage is
 * counted, not an error; AGT_IO and AGT_NOMEM are. Where a whole event that chains stands behind a
 * stump on one damaged line, it counts among `lines` too. */
AGT_PRIVATE agt_status agt__trace_check(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_cpu cpu, agt_trace_report *out, agt_error *err);
/* Mends the tail: a whole valid event gets its newline; anything else there is copied to
 * <segment>.torn (synced) and cut off, and so are segments behind it without a whole line.
 * Idempotent; lines ended by a newline are never touched. In `out` torn_bytes and salvageable say
 * what was found, the rest how the trace is now. */
AGT_PRIVATE agt_status agt__trace_repair(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         agt_cpu cpu, agt_trace_report *out, agt_error *err);

#endif /* AGT_TRACE_PART_H */
