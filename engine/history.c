/* history.c - the record of moves as its readers get it. Moves are written by move.c. */
#include "store.h"

#include "error.h"
#include "os.h"

#include <stdlib.h>
#include <string.h>

static void release_move(bough_move *move)
{
    free(move->verb);
    free(move->note);
}

void bough_moves_release(bough_moves *moves)
{
    for (size_t i = 0; i < moves->count; i++)
        release_move(&moves->items[i]);
    free(moves->items);
    memset(moves, 0, sizeof *moves);
}

static int add(void *context, const struct bough__move_row *row)
{
    bough_moves *out = context;
    if ((out->count & (out->count - 1)) == 0) { /* grows at powers of two */
        bough_move *items = bough__realloc(out->items, (out->count ? 2 * out->count : 1) * sizeof *items);
        if (!items)
            return BOUGH_NOMEM;
        out->items = items;
    }
    bough_move *move = &out->items[out->count];
    memset(move, 0, sizeof *move);
    move->verb = bough__strdup(row->verb);
    move->note = row->note ? bough__strdup(row->note) : NULL;
    if (!move->verb || (row->note && !move->note)) {
        release_move(move);
        return BOUGH_NOMEM;
    }
    if (row->has_before)
        bough__hex(move->before, row->before, sizeof row->before);
    bough__hex(move->after, row->after, sizeof row->after);
    move->created_at_ms = row->created_at_ms;
    out->count++;
    return BOUGH_OK;
}

int bough_branch_moves(bough_moves *out, bough_store *store, const char *branch, size_t limit)
{
    struct bough__branch_row row = {0};
    memset(out, 0, sizeof *out);
    int rc = bough__catalog_branch_by_name(&row, store->catalog, branch);
    if (rc == BOUGH_OK)
        rc = bough__catalog_moves(store->catalog, row.id, limit, add, out);
    bough__branch_row_clear(&row);
    if (rc != BOUGH_OK)
        bough_moves_release(out);
    return rc;
}
