/* TensorBoard's event files: the numbers of metrics.jsonl as scalars.
 *
 * A file is a sequence of TFRecords: length (8 bytes), masked CRC-32C of it, data, masked CRC-32C of
 * the data, little-endian; data is a tensorflow.Event in protobuf's wire format. But for the wall
 * times the bytes are a function of the entries alone. A resumed run goes on in the same file. */
#ifndef TN_TRAIN_EVENTS_H
#define TN_TRAIN_EVENTS_H
#include "base/json.h"

#define TN_EVENTS_FILE "events.out.tfevents.tenet" /* TensorBoard looks for "tfevents" in names */

/* Opens DIR/TN_EVENTS_FILE (the folder is made) to append. step 0: a fresh file; else only the events
 * up to `step` stay, the first `most` of them, and a last one cut short by a crash goes. */
tn_status tn_events_open(tn_out **o, const char *dir, long step, long most, tn_err *e);
/* Every number of the entry but "step" as a scalar of that step, named as transformers names them:
 * "eval_x" is eval/x, everything else train/NAME. Flushed. */
tn_status tn_events_write(tn_out *o, const json_t *entry, tn_err *e);
#endif
