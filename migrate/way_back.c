/* way_back.c - see way_back.h.
 *
 * On a branch each migration that is applied is a commit of the machine, whose message names it and whose first parent
 * is the commit before. So when it is the head, and nothing was written after it, that parent is the state before the
 * migration. */
#include "way_back.h"

#include "report.h"
#include "table.h"

#include <string.h>

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

int bough__way_back_find(size_t *out_count, char out_to[BOUGH_ID_SIZE], bough_store *store, const char *head,
                        const struct bough__plan *plan, const char *table)
{
    bough_commits log = {0};
    bool goes_on = true;
    int rc = BOUGH_OK;

    *out_count = 0;
    out_to[0] = 0;
    if (plan->roll_back_count == 0)
        return BOUGH_OK;
    rc = bough_commit_log_quick(&log, store, head, plan->roll_back_count + 1);
    for (size_t i = 0; rc == BOUGH_OK && goes_on && i < plan->roll_back_count && i + 1 < log.count; i++) {
        rc = is_of(&goes_on, &log.items[i], plan->roll_back[i], table);
        goes_on = goes_on && !log.items[i + 1].pruned;
        if (rc == BOUGH_OK && goes_on) {
            *out_count = i + 1;
            memcpy(out_to, log.items[i + 1].id, BOUGH_ID_SIZE);
        }
    }
    bough_commits_release(&log);
    return rc;
}
