/* way_back.c - see way_back.h.
 *
 * On a branch each migration that is applied is a commit of the machine, whose message names it and whose first parent
 * is the commit before. So when it is the head, and nothing was written after it, that parent is the state before the
 * migration. What the migrator wrote after it about itself (ephemeral migrations that were stored, a repair) is nothing
 * in the way: then the commit is found below the head, and that nothing else was written is told from the two states
 * themselves, whoever committed what in between. Who goes back carries over what is stored of migrations that stay. */
#include "way_back.h"

#include "bookkeeping.h"
#include "forks.h"
#include "report.h"
#include "table.h"

#include <string.h>

#define PASSED_MAX 64 /* commits between here and that of a migration */

char *bough__way_back_message(const char *verb, const struct bough__migration *migration, const char *table)
{
    bool is_default = !table || strcmp(table, BOUGH__MIGRATIONS_TABLE) == 0;

    return sqlite3_mprintf("migrate %s %s%s%s%s%s%s", verb, migration->version, migration->name[0] ? " " : "",
                           migration->name, is_default ? "" : " (", is_default ? "" : table, is_default ? "" : ")");
}

static int is_of(bool *out, const bough_commit *commit, const struct bough__migration *migration, const char *table)
{
    char *message = bough__way_back_message("up", migration, table);

    if (!message)
        return bough__migrate_fail_memory();
    *out = commit->automatic && commit->parent_count == 1 && strcmp(commit->message, message) == 0;
    sqlite3_free(message);
    return BOUGH_OK;
}

/* The walk: the log from `here` on, and where in it the walk is. */
struct walk {
    bough_store *store;
    const char *table;
    bough_commits log;
    size_t at;
    const struct bough__here *here; /* NULL: the state is the commit log.items[at] */
};

/* The commit of the migration at or below where the walk is; log.count when there is none. */
static int find_commit(size_t *out, const struct walk *walk, const struct bough__migration *migration)
{
    bool is_it = false;
    size_t end = walk->at + PASSED_MAX < walk->log.count ? walk->at + PASSED_MAX : walk->log.count;
    int rc = BOUGH_OK;

    *out = walk->log.count;
    for (size_t i = walk->at; rc == BOUGH_OK && *out == walk->log.count && i < end; i++) {
        rc = is_of(&is_it, &walk->log.items[i], migration, walk->table);
        if (is_it)
            *out = i;
    }
    return rc;
}

/* Has nothing but the migrator written since that commit? */
static int is_untouched(bool *out, const struct walk *walk, size_t commit)
{
    const struct bough__here *here = walk->here;
    sqlite3 *then = NULL;
    sqlite3 *now = here ? here->db : NULL;
    int rc = BOUGH_OK;

    *out = commit == walk->at && (!here || here->is_commit);
    if (*out || walk->log.items[commit].pruned)
        return BOUGH_OK;
    if (!here)
        rc = bough__state_open(&now, walk->store, walk->log.items[walk->at].id);
    if (rc == BOUGH_OK)
        rc = bough__state_open(&then, walk->store, walk->log.items[commit].id);
    if (rc == BOUGH_OK)
        rc = bough__bookkeeping_only(out, then, now, walk->table);
    sqlite3_close(then);
    if (!here)
        sqlite3_close(now);
    return rc;
}

/* One step back, over the migration. */
static int go_back(bool *out, struct walk *walk, const struct bough__migration *migration)
{
    size_t commit = 0;
    int rc = find_commit(&commit, walk, migration);

    *out = false;
    if (rc != BOUGH_OK || commit + 1 >= walk->log.count || walk->log.items[commit + 1].pruned)
        return rc;
    rc = is_untouched(out, walk, commit);
    if (rc == BOUGH_OK && *out) {
        walk->at = commit + 1;
        walk->here = NULL;
    }
    return rc;
}

int bough__way_back_find(size_t *out_count, char out_to[BOUGH_ID_SIZE], bough_store *store,
                        const struct bough__here *here, const struct bough__plan *plan, const char *table)
{
    struct walk walk = {.store = store, .table = table, .here = here};
    bool goes_on = true;
    int rc = BOUGH_OK;

    *out_count = 0;
    out_to[0] = 0;
    if (plan->roll_back_count == 0)
        return BOUGH_OK;
    rc = bough_commit_log_quick(&walk.log, store, here->head, plan->roll_back_count + PASSED_MAX + 1);
    for (size_t i = 0; rc == BOUGH_OK && goes_on && i < plan->roll_back_count; i++) {
        rc = go_back(&goes_on, &walk, plan->roll_back[i]);
        if (rc == BOUGH_OK && goes_on) {
            *out_count = i + 1;
            memcpy(out_to, walk.log.items[walk.at].id, BOUGH_ID_SIZE);
        }
    }
    bough_commits_release(&walk.log);
    return rc;
}
