/* pager: puts a pager between stdout, which is a terminal, and the person there. For output.c; a
 * command says out_page. */
#ifndef AGENT_TRACE_CLI_PAGER_H
#define AGENT_TRACE_CLI_PAGER_H

/* Starts it, if there is one and it was not started yet. */
void pager_start(void);
/* Waits until it has ended; stdout is the terminal again. */
void pager_end(void);

#endif /* AGENT_TRACE_CLI_PAGER_H */
