/* outcome_json.h - what differs between two databases, as JSON: `diff`, `compare` and `try` say it alike. */
#ifndef BOUGH_CLI_OUTCOME_JSON_H
#define BOUGH_CLI_OUTCOME_JSON_H

#include "json.h"

#include "outcome.h"

/* The members of a table's object; the caller opens and closes it. */
void outcome_json_table(struct json *json, const struct bough__table_outcome *table);
/* The member "schema": the changes that concern this table, all if it is NULL. */
void outcome_json_schema(struct json *json, const struct bough__schema_changes *schema, const char *table);

#endif
