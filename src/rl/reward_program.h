/* A program as a verifiable reward: --reward-funcs program:COMMAND, a line for /bin/sh, started once, when it is first asked. For every completion it is
 * told a line of JSON, the row's fields with "completion" (text) and "ended", and answers with a line: a number, or null
 * for no answer. It may not read ahead: the next line comes when it has answered. */
#ifndef TN_RL_REWARD_PROGRAM_H
#define TN_RL_REWARD_PROGRAM_H
#include "rl/reward_fn.h"

tn_status tn_program_open(void **state, const char *command, tn_err *e);
/* TN_FORMAT for anything but a number or null in time; what the program writes to its stderr is a warning. */
tn_status tn_program_ask(void *state, const tn_completion *x, double *reward, tn_err *e);
void tn_program_close(void *state);
#endif
