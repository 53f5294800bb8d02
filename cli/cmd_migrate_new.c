/* cmd_migrate_new.c - bough migrate new: a file with the version of this second. */
#include "cmd_migrate.h"
#include "version.h"

#include <string.h>
#include <time.h>

static void print_json(const char *const *paths, const char *version, const char *name)
{
    struct json json = {stdout, false};

    json_open(&json, '{');
    json_put_string(&json, "version", version);
    json_put_string(&json, "name", name);
    json_key(&json, "paths");
    json_open(&json, '[');
    for (int i = 0; i < 2 && paths[i]; i++)
        json_string(&json, paths[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}

int migrate_new(struct migrate *migrate)
{
    char version[BOUGH__VERSION_SIZE] = "";
    char *paths[2] = {NULL, NULL};
    int rc = migrate_check(migrate, bough__migration_create(paths, version, migrate_directory(migrate),
                                                            cli_operand(migrate->cli, 1), (int64_t)time(NULL) * 1000));

    if (rc == BOUGH_OK && migrate->cli->json)
        print_json((const char *const *)paths, version, cli_operand(migrate->cli, 1));
    else if (rc == BOUGH_OK)
        for (int i = 0; i < 2 && paths[i]; i++)
            printf("%s\n", paths[i]);
    sqlite3_free(paths[0]);
    sqlite3_free(paths[1]);
    return rc;
}
