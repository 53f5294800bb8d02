/* open_branch.c - forks a branch, writes to it with SQLite, and commits it.
 *
 *     cc open_branch.c $(pkg-config --cflags --libs bough sqlite3) -o open_branch
 *     ./open_branch shop.bough experiment
 */
#include <bough.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static const char sql[] = "BEGIN;"
                          "CREATE TABLE IF NOT EXISTS note(text TEXT NOT NULL);"
                          "INSERT INTO note VALUES('written from C');"
                          "COMMIT;";

static int fork_branch(bough_store *store, const char *name)
{
    bough_branches made = {0};
    int rc = bough_branch_create(&made, store, &name, 1, "main", NULL);
    if (rc == BOUGH_OK)
        printf("forked %s from %s at %.12s\n", made.items[0].name, made.items[0].parent, made.items[0].base);
    bough_branches_release(&made);
    return rc;
}

/* SQLite does all the reading and writing. It knows the branch by its URI. */
static int write_branch(bough_store *store, const char *name)
{
    char *uri = NULL, *path = NULL;
    sqlite3 *db = NULL;
    int rc = bough_ref_url(&uri, &path, store, name);
    if (rc != BOUGH_OK)
        return rc;
    int code = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(db, 5000);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(db));
    sqlite3_close(db);
    free(uri);
    free(path);
    return code == SQLITE_OK ? BOUGH_OK : BOUGH_SQL;
}

static int commit_branch(bough_store *store, const char *name)
{
    bough_sealed sealed = {0};
    bough_options options = BOUGH_OPTIONS_INIT;
    options.message = "a note";
    int rc = bough_commit_create(&sealed, store, name, &options);
    if (rc == BOUGH_OK)
        printf("committed %.12s\n", sealed.id);
    bough_sealed_release(&sealed);
    return rc;
}

static int count_changes(bough_store *store, const char *name)
{
    bough_page_diff diff = {0};
    int rc = bough_diff_pages(&diff, store, "main", name, NULL, NULL);
    if (rc == BOUGH_OK)
        printf("%llu pages changed, %llu added\n", (unsigned long long)diff.changed, (unsigned long long)diff.added);
    return rc;
}

int main(int argc, char **argv)
{
    bough_store *store = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: %s STORE NAME\n", argv[0]);
        return 2;
    }
    int rc = bough_vfs_register(false);
    if (rc == BOUGH_OK)
        rc = bough_store_open(&store, argv[1], NULL);
    if (rc == BOUGH_OK)
        rc = fork_branch(store, argv[2]);
    if (rc == BOUGH_OK)
        rc = write_branch(store, argv[2]);
    if (rc == BOUGH_OK)
        rc = commit_branch(store, argv[2]);
    if (rc == BOUGH_OK)
        rc = count_changes(store, argv[2]);
    if (rc != BOUGH_OK)
        fprintf(stderr, "%s: %s\n", bough_code_name(rc), bough_error_message());
    bough_store_close(store);
    return rc == BOUGH_OK ? 0 : 1;
}
