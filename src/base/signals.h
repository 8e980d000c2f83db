/* Two-stage Ctrl-C: the first INT or TERM sets a flag that is looked at between steps,
 * the second leaves at once. USR1 asks for a checkpoint now. */
#ifndef TN_BASE_SIGNALS_H
#define TN_BASE_SIGNALS_H
#include <stdbool.h>
void tn_signals_install(void);
bool tn_stop_requested(void);
bool tn_stop_is_news(void);         /* the first time that it is asked after a request to stop */
bool tn_checkpoint_requested(void); /* reading clears it */
void tn_request_stop(void);         /* same effect as the first Ctrl-C (tests, embedders) */
void tn_clear_stop(void);
#endif
