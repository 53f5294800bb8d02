/* outcome_json.c - see outcome_json.h. */
#include "outcome_json.h"

static void put_count(struct json *json, const char *key, const struct bough__table_outcome *table, uint64_t count)
{
    if (table->is_counted)
        json_put_uint(json, key, count);
    else
        json_put_null(json, key);
}

void outcome_json_table(struct json *json, const struct bough__table_outcome *table)
{
    json_put_string(json, "name", table->name);
    json_put_string(json, "status", bough__change_name(table->change));
    put_count(json, "rows_added", table, table->counts.added);
    put_count(json, "rows_removed", table, table->counts.removed);
    put_count(json, "rows_changed", table, table->counts.changed);
}

void outcome_json_schema(struct json *json, const struct bough__schema_changes *schema, const char *table)
{
    json_key(json, "schema");
    json_open(json, '[');
    for (size_t i = 0; i < schema->count; i++) {
        const struct bough__schema_change *change = &schema->items[i];

        if (!bough__schema_change_concerns(schema, change, table))
            continue;
        json_open(json, '{');
        json_put_string(json, "type", change->type);
        json_put_string(json, "name", change->name);
        json_put_string(json, "status", bough__change_name(change->change));
        json_put_string(json, "from_sql", change->from_sql);
        json_put_string(json, "to_sql", change->to_sql);
        json_close(json, '}');
    }
    json_close(json, ']');
}
