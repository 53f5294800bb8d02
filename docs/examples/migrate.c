/* migrate.c - a program that brings its database to the state that it needs, whatever version of it was there before.
 *
 *     cc migrate.c $(pkg-config --cflags --libs bough sqlite3) -o migrate
 *     ./migrate app.db 2             as version 1, 2 or 3 of the program would
 */
#include <bough_migrate.h>

#include <stdio.h>
#include <stdlib.h>

static const bough_migration migrations[] = {
    {
        .defined_at_ms = 1741914000000, /* 2025-03-14 01:00 UTC */
        .name = "users",
        .up = "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
              "INSERT INTO users(name) VALUES ('Alice'), ('Bob');",
        .down = "DROP TABLE users",
    },
    {
        .defined_at_ms = 1742000400000,
        .name = "posts",
        .description = "what users write",
        .up = "CREATE TABLE posts(id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), text TEXT)",
        .down = "DROP TABLE posts",
    },
    {
        .defined_at_ms = 1742086800000,
        .name = "foreign keys",
        .up = "PRAGMA foreign_keys = ON",
        .ephemeral = true, /* SQLite forgets it with the connection, so it runs every time */
    },
};

static void tell(void *context, enum bough_migrate_event event, const char *text)
{
    static const char *const words[] = {"rolled back", "applied", "warning:", "violation:"};

    (void)context;
    printf("%s %s\n", words[event], text);
}

int main(int argc, char **argv)
{
    bough_migrate_options options = BOUGH_MIGRATE_OPTIONS_INIT;
    bough_migration_target target = {NULL, NULL, NULL};
    bough_migration_run run = {0};
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    int rc = BOUGH_OK;

    if (count < 1 || count > sizeof migrations / sizeof migrations[0]) {
        fprintf(stderr, "usage: %s FILE.db VERSION\n", argv[0]);
        return 2;
    }
    if (sqlite3_open(argv[1], &target.connection) != SQLITE_OK) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(target.connection));
        return 1;
    }
    options.log = tell;
    rc = bough_migrate(&run, &target, migrations, count, &options);
    if (rc != BOUGH_OK)
        fprintf(stderr, "%s: %s\n", bough_code_name(rc), bough_error_message());
    bough_migration_run_release(&run);
    sqlite3_close(target.connection);
    return rc != BOUGH_OK;
}
