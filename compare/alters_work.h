/* alters_work.h - the search for what ALTER TABLE can do, under way; private to alters.c and alter_candidates.c. */
#ifndef BOUGH_COMPARE_ALTERS_WORK_H
#define BOUGH_COMPARE_ALTERS_WORK_H

#include "compare.h"

/* A table all of whose columns have partners, some of them under other names, and maybe more behind them. */
struct bough__alter_candidate {
    size_t change; /* among those of the schema */
    struct bough__names old_names, new_names;
    struct bough__names added, generated; /* names of new columns; "" in `generated` where it is not */
    struct bough__names definitions;      /* of these, as found in this round */
    struct bough__names values;           /* and what rows get there */
    bool is_quoted;                       /* the new names are written in quotes, and so SQLite keeps them */
    bool is_given_up;
};

struct bough__alter_work {
    sqlite3 *from, *to;
    const struct bough__schema_changes *schema;
    struct bough__alter_candidate *candidates;
    size_t count;
    bool renames_tables; /* together with everything that names them */
    sqlite3 *copy;
};

/* Returns a result of SQLite, as in compare.h. */
int bough__alter_find_candidates(struct bough__alter_work *work, sqlite3 **out_failed);
void bough__alter_release_candidate(struct bough__alter_candidate *candidate);
/* Nothing but the name. */
bool bough__alter_is_only_renamed(const struct bough__schema_change *change);
const char *bough__alter_name_in_from(const struct bough__schema_change *change);

#endif
