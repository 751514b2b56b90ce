/* lines: reading a stream line by line, however long the lines are, unpacking .gz on the way. */
#ifndef AGENT_TRACE_CLI_LINES_H
#define AGENT_TRACE_CLI_LINES_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LINES_MAX ((size_t)2048 * 1024 * 1024) /* bytes in a line */

typedef struct line_reader {
    const char *name; /* for messages */
    int fd;
    pid_t child; /* gzip, or 0 */
    char *buffer;
    size_t cap, start, end;
    bool at_end;
    uint64_t number;                   /* of the line handed out last; the first is 1 */
    uint64_t bytes;                    /* read so far */
    uint64_t size;                     /* of the file; 0 if unknown */
    const volatile sig_atomic_t *stop; /* NULL, or not 0 when reading is to end */
} line_reader;

typedef enum line_result {
    LINE_END = 0, /* or it was stopped; half a line is not handed out */
    LINE_OK,
    LINE_TOO_LONG, /* it was skipped */
    LINE_FAILED    /* the stream cannot be read on; reported */
} line_result;

/* Opens the file; "-" is stdin. Returns an exit code; failures were reported. */
int lines_open(line_reader *r, const char *file);
/* Is there something to read now, or within so many milliseconds? */
bool lines_ready(const line_reader *r, int timeout_ms);
/* The next line without its newline, in memory of its own (free it), NUL-terminated. */
line_result lines_next(line_reader *r, char **line, size_t *len);
/* Closes; false if the unpacker says that the file is damaged (reported). */
bool lines_close(line_reader *r);

#endif /* AGENT_TRACE_CLI_LINES_H */
