/* review_json.c - a review as the document of --json. */
#include "outcome_json.h"
#include "review.h"

static void put_count(struct json *json, const char *key, bool is_known, uint64_t count)
{
    if (is_known)
        json_put_uint(json, key, count);
    else
        json_put_null(json, key);
}

static void put_seconds(struct json *json, const char *key, double seconds)
{
    json_key(json, key);
    if (seconds >= 0)
        json_real(json, seconds);
    else
        json_null(json);
}

static void put_tables(struct json *json, const struct bough__outcome *outcome)
{
    json_key(json, "tables");
    json_open(json, '[');
    for (size_t i = 0; i < outcome->table_count; i++) {
        json_open(json, '{');
        outcome_json_table(json, &outcome->tables[i]);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_queries(struct json *json, const struct review *review, const struct review_side *side)
{
    json_key(json, "queries");
    json_open(json, '[');
    for (size_t i = 0; i < review->query_count; i++) {
        const struct review_query *query = &review->queries[i];
        const struct bough__query_run *run = &side->queries[i];

        json_open(json, '{');
        json_put_string(json, "sql", query->sql);
        put_seconds(json, "seconds", run->seconds);
        put_seconds(json, "base_seconds", query->base.seconds);
        json_put_string(json, "plan", run->plan);
        json_put_string(json, "base_plan", query->base.plan);
        put_count(json, "rows", run->seconds >= 0, run->rows);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_side(struct json *json, const struct review *review, const struct review_side *side)
{
    json_open(json, '{');
    json_put_string(json, "name", side->name);
    json_put_bool(json, "ok", side->ok);
    json_put_string(json, "error", side->error);
    put_seconds(json, "seconds", side->seconds);
    json_put_uint(json, "pages_changed", review_pages(side));
    put_count(json, "own_bytes", side->is_branch, side->own_bytes);
    json_put_string(json, "integrity", side->checks.integrity);
    put_count(json, "foreign_key_violations", side->checks.violations_known, side->checks.violations);
    put_tables(json, &side->outcome);
    outcome_json_schema(json, &side->outcome.schema, NULL);
    put_queries(json, review, side);
    json_close(json, '}');
}

void review_write_json(struct review *review, FILE *file)
{
    struct json json = {file, false};

    json_open(&json, '{');
    json_put_string(&json, "base", review->base);
    json_key(&json, "branches");
    json_open(&json, '[');
    for (size_t i = 0; i < review->count; i++)
        put_side(&json, review, &review->sides[i]);
    json_close(&json, ']');
    json_close(&json, '}');
    cli_json_end(&json);
}
