/* A file of rows made group by group, which a killed process goes on with: nothing that is there is made again, and the
 * file ends in the same bytes. While it grows it is PATH.part: its first line, "# " and what the rows are made of, then of
 * every group its rows and a line "# " with a note. The complete one is written aside and renamed. Rows are lines that do
 * not begin with '#'. One process at a time: another one is refused while this one has the file open (TN_STATE). */
#ifndef TN_BASE_JOURNAL_H
#define TN_BASE_JOURNAL_H
#include "base/os.h"

typedef struct tn_journal tn_journal;
typedef tn_status tn_journal_note(void *ctx, const char *note, tn_err *e);
/* what: one line; a PATH.part that was made of something else is TN_STATE, as is a PATH that is complete, unless
 * `overwrite`: then both are forgotten. `seen` is given the note of every complete group, in order. */
tn_status tn_journal_open(tn_journal **j, const char *path, const char *what, bool overwrite, tn_journal_note *seen, void *ctx,
                          tn_err *e);
long tn_journal_groups(const tn_journal *j);
/* rows: lines with their newlines, or none; note: one line. On the disk when the next flush returns. */
tn_status tn_journal_add(tn_journal *j, const tn_str *rows, const char *note, tn_err *e);
tn_status tn_journal_flush(tn_journal *j, tn_err *e);
/* PATH has all rows, and PATH.part is gone. */
tn_status tn_journal_finish(tn_journal *j, tn_err *e);
void tn_journal_close(tn_journal *j); /* NULL is fine; what is not finished can be gone on with */
#endif
