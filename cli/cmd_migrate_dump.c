/* cmd_migrate_dump.c - bough migrate dump: the schema, for a file under version control. */
#include "cmd_migrate.h"
#include "dump.h"

static int print_json(void *context, const char *type, const char *name, const char *sql)
{
    struct json *json = context;

    json_open(json, '{');
    json_put_string(json, "type", type);
    json_put_string(json, "name", name);
    json_put_string(json, "sql", sql);
    json_close(json, '}');
    return BOUGH_OK;
}

static int print_text(void *context, const char *type, const char *name, const char *sql)
{
    (void)context;
    (void)type;
    (void)name;
    printf("%s\n", sql);
    return BOUGH_OK;
}

static int dump(struct migrate *migrate, sqlite3 *db)
{
    struct json json = {stdout, false};
    int rc = BOUGH_OK;

    if (!migrate->cli->json)
        return migrate_check(migrate, bough__dump(db, migrate->options.table, print_text, NULL));
    json_open(&json, '{');
    migrate_json_branch(migrate, &json);
    json_key(&json, "schema");
    json_open(&json, '[');
    rc = migrate_check(migrate, bough__dump(db, migrate->options.table, print_json, &json));
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
    return rc;
}

int migrate_dump(struct migrate *migrate)
{
    struct database database = {NULL, NULL, false};
    int rc = BOUGH_OK;

    if (migrate->file)
        return dump(migrate, migrate->file);
    rc = database_open(migrate->cli, &database, migrate->branch, false);
    if (rc == BOUGH_OK)
        rc = dump(migrate, database.handle);
    database_close(&database);
    return rc;
}
