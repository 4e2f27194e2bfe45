/* The warden's mailbox: what threads want done off the way of a request.
 *
 * Owns: mails that wait, and what happens when there are more than fit. Must not know what is done
 * about them. A mail names a thing to look at, and the thing is marked before the mail is posted.
 * So a stale mail does no harm, and when the box is full the reader looks at everything instead.
 *
 * Any thread posts and none of them waits. The warden reads, and once it is gone the thread that
 * stops the library. */
#include "internal.h"

#define CAPACITY 1024u

static struct {
    atoll__mpmc_t *queue;
    _Atomic uint32_t waiting; /* at least as many as are in the queue */
    _Atomic uint32_t lost;    /* 1: not all that was posted is in the queue */
} box;

atoll_status_t atoll__mailbox_open(void) {
    if (box.queue != NULL) return ATOLL_OK;
    box.queue = atoll__prim_reserve(atoll__mpmc_bytes(CAPACITY));
    if (box.queue == NULL) return atoll__fail(ATOLL_NO_MEMORY, "Cannot open: no address space");
    atoll__mpmc_init(box.queue, CAPACITY);
    return ATOLL_OK;
}

void atoll__mailbox_post(atoll__mail_t mail, uint32_t number) {
    /* SYNC POINT: mail-counted. Before the push: the count is never too low. Sequentially consistent,
     * before the load in tick-wanted; paired with tick-look. */
    atomic_fetch_add_explicit(&box.waiting, 1, memory_order_seq_cst);
    ATOLL__WINDOW();
    if (atoll__mpmc_push(box.queue, CAPACITY, (uint64_t)mail << 32 | number) !=
        ATOLL__MPMC_DONE) {
        /* SYNC POINT: mail-lost; the mark was set before. Paired with itself, tick-look. */
        atomic_store_explicit(&box.lost, 1, memory_order_seq_cst);
        atomic_fetch_sub_explicit(&box.waiting, 1, memory_order_relaxed);
    }
    atoll__warden_tick();
}

bool atoll__mailbox_waiting(void) {
    /* SYNC POINT: tick-look; paired with mail-counted, mail-lost. */
    return atomic_load_explicit(&box.waiting, memory_order_seq_cst) != 0 ||
           atomic_load_explicit(&box.lost, memory_order_seq_cst) != 0;
}

bool atoll__mailbox_drain(void (*read)(atoll__mail_t mail, uint32_t number)) {
    /* Not more than there are now: what is read may lead to the same mail again. */
    uint32_t most = atomic_load_explicit(&box.waiting, memory_order_relaxed);
    uint64_t mail;
    /* Busy: a poster is between its two steps. Its mail is counted, and read the next time. */
    while (most-- > 0 && atoll__mpmc_pop(box.queue, CAPACITY, &mail) == ATOLL__MPMC_DONE) {
        atomic_fetch_sub_explicit(&box.waiting, 1, memory_order_relaxed);
        read((atoll__mail_t)(mail >> 32), (uint32_t)mail);
    }
    /* SYNC POINT: mail-lost, the reader's end. */
    return atomic_exchange_explicit(&box.lost, 0, memory_order_acq_rel) == 0;
}
