/* shop.h - a shop's database of any size: users, and orders with three indexes. */
#ifndef BOUGH_BENCH_SHOP_H
#define BOUGH_BENCH_SHOP_H

#include <stdint.h>

/* Makes the file anew, about size_bytes large (within some percent; 100 KB at least). The same size gives the same
 * bytes with the same SQLite. Returns 0, or an SQLite code with a message on stderr. */
int shop_make(const char *path, uint64_t size_bytes);

#endif
