/* event: one event <-> one line of the trace. The line's bytes are canonical: FORMAT.md gives the
 * order of the fields. */
#ifndef AGT_EVENT_PART_H
#define AGT_EVENT_PART_H

#include "../data/data.h"

/* The source of an event that only the files of a store of agent-trace 0.1.0 told. */
#define AGT_EVENT_OLD "v0_1_0"

/* Appends the line for `e`, newline included, to `out`. Field order: timestamp session_id
 * agent_name actor action change_kind path doc_type summary source detected_by lines_added
 * lines_removed seq replica version blob doc doc_prev prev, then recorded_at only where it differs
 * from the timestamp, then rejected, from, grant and until only where there is one. Absent texts
 * are null (data NULL); version and doc_prev 0 are 0. e->line is ignored. AGT_LIMIT if the line is
 * longer than AGT_MAX_EVENT, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__event_format(agt_buf *out, const agt_event *e, agt_error *err);

/* Reads a line (n bytes, newline included). Known fields in any order; unknown ones are skipped.
 * Texts point into the line where they have no escapes, else into `scratch`, which is emptied
 * first. e->line is the line. AGT_CORRUPT with the byte offset if it is no valid event: seq,
 * timestamp, actor, action and prev are required. Expects the canonical order first (fast), and
 * falls back. */
AGT_PRIVATE agt_status agt__event_parse(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                        agt_error *err);

/* Only the seq, without checking the rest: for searching. false if there is none. */
AGT_PRIVATE bool agt__event_seq(const char *line, size_t n, uint64_t *seq);

#endif /* AGT_EVENT_PART_H */
