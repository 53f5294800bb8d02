/* repair.c - accepting a changed file: bough__repair of migrate.h. */
#include "migrate.h"
#include "report.h"
#include "table.h"

#include <string.h>

int bough__repair(bough_migration_step *out, sqlite3 *db, const char *table, const struct bough__migrations *defined,
                  int64_t version_ms)
{
    struct bough__migrations applied = {0};
    const struct bough__migration *from = bough__migrations_find(defined, version_ms);
    const struct bough__migration *stored = NULL;
    int rc = bough__applied_read(&applied, db, table);

    memset(out, 0, sizeof *out);
    if (rc == BOUGH_OK)
        stored = bough__migrations_find(&applied, version_ms);
    if (rc == BOUGH_OK && !from)
        rc = bough__migrate_fail(BOUGH_NOT_FOUND, "no migration of this version is defined");
    else if (rc == BOUGH_OK && (!stored || !bough__migration_is_same(stored, from)))
        rc = bough__migrate_fail(BOUGH_NOT_FOUND, "%s is not applied", from->up.origin);
    if (rc == BOUGH_OK)
        rc = bough__applied_replace(db, table, stored, from);
    if (rc == BOUGH_OK) {
        out->defined_at_ms = version_ms;
        out->version = sqlite3_mprintf("%s", from->version);
        out->name = sqlite3_mprintf("%s", from->name);
    }
    bough__migrations_release(&applied);
    return rc;
}
