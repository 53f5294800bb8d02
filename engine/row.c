/* row.c - rows of the catalog apart from SQLite: release, checksums, commit ids. */
#include "row.h"

#include "codec.h"
#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

void bough__branch_row_clear(struct bough__branch_row *row)
{
    free(row->name);
    memset(row, 0, sizeof *row);
}

void bough__commit_row_clear(struct bough__commit_row *row)
{
    free(row->parents);
    free(row->author);
    free(row->message);
    memset(row, 0, sizeof *row);
}

void bough__tag_row_clear(struct bough__tag_row *row)
{
    free(row->name);
    memset(row, 0, sizeof *row);
}

void bough__move_row_clear(struct bough__move_row *row)
{
    free(row->verb);
    free(row->note);
    memset(row, 0, sizeof *row);
}

/* ---- encoding ---- */

/* Most rows fit into `small`; a long message moves to memory of its own. A failed allocation is noted and told at the
 * end. */
struct encoder {
    uint8_t *bytes;
    size_t len, capacity;
    bool failed;
    uint8_t small[512];
};

static void encoder_init(struct encoder *encoder, char table)
{
    encoder->bytes = encoder->small;
    encoder->capacity = sizeof encoder->small;
    encoder->failed = false;
    encoder->small[0] = (uint8_t)table;
    encoder->len = 1;
}

static bool reserve(struct encoder *encoder, size_t more)
{
    if (encoder->failed)
        return false;
    if (more <= encoder->capacity - encoder->len)
        return true;
    size_t capacity = (encoder->len + more) * 2;
    bool was_small = encoder->bytes == encoder->small;
    uint8_t *bytes = bough__realloc(was_small ? NULL : encoder->bytes, capacity);
    encoder->failed = !bytes;
    if (!bytes)
        return false;
    if (was_small)
        memcpy(bytes, encoder->small, encoder->len);
    encoder->bytes = bytes;
    encoder->capacity = capacity;
    return true;
}

static void put_integer(struct encoder *encoder, uint64_t value)
{
    if (!reserve(encoder, 8))
        return;
    bough__put64(encoder->bytes + encoder->len, value);
    encoder->len += 8;
}

static void put_bytes(struct encoder *encoder, const void *bytes, size_t len_bytes)
{
    if (!reserve(encoder, 4 + len_bytes))
        return;
    bough__put32(encoder->bytes + encoder->len, bytes ? (uint32_t)len_bytes : UINT32_MAX);
    if (bytes && len_bytes)
        memcpy(encoder->bytes + encoder->len + 4, bytes, len_bytes);
    encoder->len += 4 + (bytes ? len_bytes : 0);
}

static void put_text(struct encoder *encoder, const char *text)
{
    put_bytes(encoder, text, text ? strlen(text) : 0);
}

static int encoder_finish(int64_t *out, struct encoder *encoder)
{
    if (!encoder->failed)
        *out = (int64_t)bough__xxh(encoder->bytes, encoder->len, 0);
    if (encoder->bytes != encoder->small)
        free(encoder->bytes);
    return encoder->failed ? BOUGH_NOMEM : BOUGH_OK;
}

int bough__branch_row_sum(int64_t *out, const struct bough__branch_row *row)
{
    struct encoder encoder;
    encoder_init(&encoder, 'b');
    put_integer(&encoder, (uint64_t)row->id);
    put_text(&encoder, row->name);
    put_integer(&encoder, (uint64_t)row->parent_id);
    put_bytes(&encoder, row->has_base ? row->base : NULL, row->has_base ? sizeof row->base : 0);
    put_bytes(&encoder, row->head, sizeof row->head);
    put_integer(&encoder, row->layer);
    put_integer(&encoder, row->head_txn);
    put_integer(&encoder, row->held_txn);
    put_integer(&encoder, row->node_bytes);
    put_integer(&encoder, row->is_protected);
    put_integer(&encoder, (uint64_t)row->created_at_ms);
    put_integer(&encoder, (uint64_t)row->expires_at_ms);
    return encoder_finish(out, &encoder);
}

int bough__commit_row_sum(int64_t *out, const struct bough__commit_row *row)
{
    uint8_t tree[BOUGH__TREE_BYTES];
    bough__tree_encode(tree, &row->tree);
    struct encoder encoder;
    encoder_init(&encoder, 'c');
    put_bytes(&encoder, row->id, sizeof row->id);
    put_bytes(&encoder, row->root, sizeof row->root);
    put_bytes(&encoder, tree, sizeof tree);
    put_integer(&encoder, row->page_size);
    put_bytes(&encoder, row->parent_count ? row->parents[0] : (const uint8_t *)"",
              row->parent_count * BOUGH__DIGEST_SIZE);
    put_text(&encoder, row->author);
    put_text(&encoder, row->message);
    put_integer(&encoder, (uint64_t)row->created_at_ms);
    put_integer(&encoder, row->changed_pages);
    put_integer(&encoder, row->layer);
    put_integer(&encoder, row->txn);
    put_integer(&encoder, row->automatic);
    put_integer(&encoder, row->pruned);
    return encoder_finish(out, &encoder);
}

int bough__tag_row_sum(int64_t *out, const struct bough__tag_row *row)
{
    struct encoder encoder;
    encoder_init(&encoder, 't');
    put_text(&encoder, row->name);
    put_bytes(&encoder, row->commit, sizeof row->commit);
    put_integer(&encoder, (uint64_t)row->created_at_ms);
    return encoder_finish(out, &encoder);
}

int bough__move_row_sum(int64_t *out, const struct bough__move_row *row)
{
    struct encoder encoder;
    encoder_init(&encoder, 'm');
    put_integer(&encoder, (uint64_t)row->branch_id);
    put_text(&encoder, row->verb);
    put_bytes(&encoder, row->has_before ? row->before : NULL, row->has_before ? sizeof row->before : 0);
    put_bytes(&encoder, row->after, sizeof row->after);
    put_text(&encoder, row->note);
    put_integer(&encoder, (uint64_t)row->created_at_ms);
    return encoder_finish(out, &encoder);
}

int bough__setting_sum(int64_t *out, const char *key, const char *value)
{
    struct encoder encoder;
    encoder_init(&encoder, 's');
    put_text(&encoder, key);
    put_text(&encoder, value);
    return encoder_finish(out, &encoder);
}

/* ---- commit ids ---- */

int bough__commit_id(uint8_t out[BOUGH__DIGEST_SIZE], const struct bough__commit_row *row)
{
    static const char tag[] = "bough commit 1\n";
    const char *author = row->author ? row->author : "", *message = row->message ? row->message : "";
    uint8_t parent_count[4], created_at[8], author_len[4], message_len[4];
    bough__put32(parent_count, (uint32_t)row->parent_count);
    bough__put64(created_at, (uint64_t)row->created_at_ms);
    bough__put32(author_len, (uint32_t)strlen(author));
    bough__put32(message_len, (uint32_t)strlen(message));
    const struct bough__piece pieces[] = {
        {tag, sizeof tag - 1},
        {row->root, sizeof row->root},
        {parent_count, sizeof parent_count},
        {row->parents, row->parent_count * BOUGH__DIGEST_SIZE},
        {created_at, sizeof created_at},
        {author_len, sizeof author_len},
        {author, strlen(author)},
        {message_len, sizeof message_len},
        {message, strlen(message)},
    };
    return bough__sha256_pieces(out, pieces, sizeof pieces / sizeof pieces[0]);
}
