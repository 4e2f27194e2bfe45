/* What waits for its readers before it is freed.
 *
 * Owns: the link that an object carries for that. Must not know who waits or how. It is the first
 * member of the object, so that retiring needs no memory and cannot fail. */
#ifndef ATOLL_RETIRED_H
#define ATOLL_RETIRED_H

typedef struct atoll__retired {
    struct atoll__retired *next;
    void (*release)(struct atoll__retired *object);
} atoll__retired_t;

/* How one frees an object; it may retire others. */
typedef void (*atoll__release_t)(atoll__retired_t *object);

#endif
