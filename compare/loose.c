/* loose.c - overflow pages that differ while their row's own page does not, and whose they are.
 *
 * SQLite writes a row of the same length over the old one, and then an overflow page differs while the leaf does not.
 * Such a page, here called loose, is an overflow page on both sides, so it is one of the pages that differ and that are
 * neither a tree's nor free nor of a row on a leaf that differs. Who has it is found by looking at the leaves that are
 * the same: first, at rows whose overflow pages would follow each other, as they mostly do; then along every chain.
 * That reads the tables, but only where loose pages are. Should any be loose even then, tables without rowids are read
 * as a whole. */
#include "tables_work.h"

static int forget_page(void *context, uint32_t page)
{
    bough__pages_remove(&((struct bough__tables_work *)context)->loose, page);
    return BOUGH__BTREE_OK;
}

static bool has_loose(const struct bough__tables_work *work)
{
    return bough__pages_next(&work->loose, 0) != 0;
}

static bool is_pointer_map(const struct bough__tables_work *work, uint32_t page)
{
    return bough__btree_is_pointer_map(&work->sides[0], page) || bough__btree_is_pointer_map(&work->sides[1], page);
}

/* Pages that differ and may be an overflow page on both sides. */
static int list_loose(struct bough__tables_work *work)
{
    uint32_t last =
        work->sides[0].page_count < work->sides[1].page_count ? work->sides[0].page_count : work->sides[1].page_count;
    int rc = BOUGH__BTREE_OK;

    for (uint64_t page = bough__pages_next(work->pages, 2); rc == BOUGH__BTREE_OK && page && page <= last;
         page = bough__pages_next(work->pages, page + 1)) {
        uint32_t at = (uint32_t)page;
        bool may_be = !bough__pages_has(&work->trees, page) && !is_pointer_map(work, at);

        for (size_t side = 0; rc == BOUGH__BTREE_OK && may_be && side < 2; side++)
            rc = bough__btree_may_be_overflow(&may_be, &work->sides[side], at);
        if (rc == BOUGH__BTREE_OK && may_be && !bough__pages_add(&work->loose, page))
            rc = BOUGH__BTREE_NOMEM;
    }
    for (size_t side = 0; rc == BOUGH__BTREE_OK && has_loose(work) && side < 2; side++)
        rc = bough__btree_free_pages(&work->sides[side], forget_page, work);
    return rc;
}

struct forgetting {
    struct bough__tables_work *work;
    struct bough__btrees *trees;
};

static int forget_chain(void *context, const struct bough__cell *cell)
{
    struct forgetting *forgetting = context;

    return bough__btree_follow(forgetting->trees, &cell->chain, forget_page, forgetting->work);
}

/* What begins on a page that differs: such rows are read anyway, and entries of indexes are none. */
static int forget_chains(void *context, const struct bough__siblings *siblings)
{
    struct forgetting *forgetting = context;
    int rc = BOUGH__BTREE_OK;

    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && siblings->has_rows && i < siblings->count; i++) {
        if (bough__pages_has(forgetting->work->pages, siblings->pages[i]))
            rc = bough__btree_chains(forgetting->trees, siblings->pages[i], forget_chain, forgetting);
    }
    return rc;
}

/* In all tables and indexes of one side. */
static int forget_side(struct bough__tables_work *work, size_t side, sqlite3 *handle)
{
    struct forgetting forgetting = {work, &work->sides[side]};
    sqlite3_stmt *root = NULL;
    int rc = BOUGH__BTREE_OK;

    if (sqlite3_prepare_v2(handle, "SELECT rootpage FROM main.sqlite_schema WHERE rootpage > 1", -1, &root, NULL))
        return BOUGH__BTREE_ODD;
    while (rc == BOUGH__BTREE_OK && has_loose(work) && sqlite3_step(root) == SQLITE_ROW)
        rc = bough__btree_walk(&work->sides[side], (uint32_t)sqlite3_column_int64(root, 0), forget_chains, &forgetting);
    return sqlite3_finalize(root) == SQLITE_OK ? rc : BOUGH__BTREE_ODD;
}

struct search {
    struct bough__tables_listing *listing;
    struct bough__table_pages *change;
    bool is_thorough;
    bool found;
};

static int look_at_page(void *context, uint32_t page)
{
    struct search *search = context;

    search->found = bough__pages_has(&search->listing->work->loose, page);
    return search->found ? BOUGH__BTREE_STOPPED : BOUGH__BTREE_OK;
}

static int add_row(struct search *search, const struct bough__cell *cell)
{
    struct bough__table_pages *change = search->change;

    if (!search->listing->pair->has_rowids)
        return bough__keys_add(&change->keys, &search->listing->work->sides[1], cell);
    return bough__ranges_add(&change->ranges, cell->chain.rowid, cell->chain.rowid) ? BOUGH__BTREE_OK
                                                                                    : BOUGH__BTREE_NOMEM;
}

static int look_at_chain(void *context, const struct bough__cell *cell)
{
    struct search *search = context;
    struct bough__tables_work *work = search->listing->work;
    const struct bough__chain *chain = &cell->chain;
    uint64_t next = bough__pages_next(&work->loose, chain->first_page);
    int rc = BOUGH__BTREE_OK;

    if (!search->is_thorough && (!next || next - chain->first_page >= chain->page_count))
        return BOUGH__BTREE_OK;
    search->found = false;
    rc = bough__btree_follow(&work->sides[1], chain, look_at_page, search);
    if (!search->found)
        return rc;
    rc = add_row(search, cell);
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_follow(&work->sides[0], chain, forget_page, work);
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_follow(&work->sides[1], chain, forget_page, work);
    return rc == BOUGH__BTREE_OK && !has_loose(work) ? BOUGH__BTREE_STOPPED : rc;
}

static int look_at_leaves(void *context, const struct bough__siblings *siblings)
{
    struct search *search = context;
    struct bough__tables_listing *listing = search->listing;
    bool has_same_parent = bough__listing_has_same_leaves(listing, siblings->parent);
    int rc = BOUGH__BTREE_OK;

    for (uint32_t i = 0; rc == BOUGH__BTREE_OK && siblings->has_rows && i < siblings->count; i++) {
        if (bough__listing_is_same(listing, siblings, has_same_parent, siblings->pages[i]))
            rc = bough__btree_chains(&listing->work->sides[1], siblings->pages[i], look_at_chain, search);
    }
    return rc;
}

/* Looks for the owners of loose pages among the rows of one table. */
static int search_pair(struct bough__tables_work *work, size_t at, bool is_thorough)
{
    struct bough__tables_listing listing = {.work = work, .pair = &work->pairs[at]};
    struct search search = {&listing, &work->out->items[at], is_thorough, false};
    int rc = bough__listing_fill(&listing);

    listing.side = 1;
    if (rc == BOUGH__BTREE_OK)
        rc = bough__btree_walk(&work->sides[1], work->pairs[at].roots[1], look_at_leaves, &search);
    bough__listing_release(&listing);
    work->pairs[at].is_listed |= search.change->ranges.count || search.change->keys.count;
    return rc;
}

static bool has_narrow(const struct bough__tables_work *work)
{
    for (size_t i = 0; i < work->out->count; i++) {
        if (work->out->items[i].is_narrow)
            return true;
    }
    return false;
}

int bough__tables_settle_loose(struct bough__tables_work *work, sqlite3 *from, sqlite3 *to)
{
    int rc = has_narrow(work) ? list_loose(work) : BOUGH__BTREE_OK;

    if (rc == BOUGH__BTREE_OK && has_loose(work))
        rc = forget_side(work, 0, from);
    if (rc == BOUGH__BTREE_OK && has_loose(work))
        rc = forget_side(work, 1, to);
    for (int round = 0; rc == BOUGH__BTREE_OK && round < 4; round++) {
        for (size_t i = 0; rc == BOUGH__BTREE_OK && has_loose(work) && i < work->out->count; i++) {
            if (work->out->items[i].is_narrow && work->pairs[i].has_rowids == (round % 2 == 0))
                rc = search_pair(work, i, round >= 2);
        }
        rc = rc == BOUGH__BTREE_STOPPED ? BOUGH__BTREE_OK : rc;
    }
    return rc;
}
