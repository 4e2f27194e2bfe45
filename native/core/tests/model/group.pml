/* A group's word, its queue and who pumps it (src/group.c), as steps that the C code takes one by
 * one. A call that waits for ever is an invalid end state: spin reports it.
 *
 * LOST: a call goes into the queue without looking again, under the lock, whether a place came free
 * meanwhile. SLEEPY: a pump that finds another one at work does not say that there is more to do.
 * With either of them spin must find a call that waits for ever. */

#define CALLS 3

byte running, queued;         /* the word: changed in one step */
byte most = 1;                /* concurrency_max */
byte pumping;
bool locked;
chan waiting = [CALLS] of { byte };
bool started[CALLS];
byte ended;

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* do { seen = pumping; start what can start } while ((pumping -= seen) != 0) */
inline pump() {
    atomic { pumping++; seen = pumping }
    if
    :: seen != 1 -> skip
    :: else ->
        do
        :: seen = pumping;
           do
           :: lock();
              if
              :: len(waiting) == 0 || running >= most -> unlock(); break
              :: else ->
                  running++;
                  atomic { queued--; waiting ? next }
                  unlock();
                  started[next] = true
              fi
           od;
#ifdef SLEEPY
           pumping = 0; break
#else
           atomic {
               pumping = pumping - seen;
               if :: pumping == 0 -> break :: else -> skip fi
           }
#endif
        od
    fi
}

proctype call(byte id) {
    byte seen, next;
    bool placed;
    /* take_place */
    atomic {
        if
        :: queued == 0 && running < most -> running++; placed = true
        :: else -> placed = false
        fi
    }
    if
    :: placed -> skip
    :: else ->
        lock();
        /* take_queue_place: one exchange of the word */
        atomic {
            if
#ifndef LOST
            :: queued == 0 && running < most -> running++; placed = true
#endif
            :: else -> queued++
            fi
        }
        if
        :: placed -> skip
        :: else -> waiting ! id
        fi;
        unlock();
        if
        :: placed -> skip
        :: else -> started[id]
        fi
    fi;
    assert(running <= 2);
    /* atoll__group_leave */
    bool more;
    atomic { running--; more = queued > 0 }
    if
    :: more -> pump()
    :: else -> skip
    fi;
    ended++
}

/* atoll__group_set */
proctype raise() {
    byte seen, next;
    lock();
    most = 2;
    unlock();
    pump()
}

init {
    atomic { run call(0); run call(1); run call(2); run raise() }
    ended == CALLS;
    assert(running == 0 && queued == 0 && len(waiting) == 0)
}
