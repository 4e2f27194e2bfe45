/* A group's word, its queue and who pumps it (src/group.c), as steps that the C code takes one by
 * one. A call that waits for ever is an invalid end state: spin reports it.
 *
 * A pump gives up after a number of starts, here one, and tells the warden.
 *
 * LOST: a call goes into the queue without looking again, under the lock, whether a place came free
 * meanwhile. SLEEPY: a pump that finds another one at work does not say that there is more to do.
 * MUTE: a pump that gives up tells nobody. With any of them spin must find a call that waits for
 * ever. */

#define CALLS 3
#define STARTS_MAX 1

byte running, queued;         /* the word: changed in one step */
byte most = 1;                /* concurrency_max */
byte pumping;
bool locked;
chan waiting = [CALLS] of { byte };
bool started[CALLS];
byte ended;
byte mails;                   /* for the warden */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* do { seen = pumping; start what can start, but not too many } while ((pumping -= seen) != 0) */
inline pump() {
    atomic { pumping++; seen = pumping }
    if
    :: seen != 1 -> skip
    :: else ->
        starts = 0;
        do
        :: seen = pumping;
           do
           :: starts == STARTS_MAX -> break
           :: else ->
              lock();
              if
              :: len(waiting) == 0 || running >= most -> unlock(); break
              :: else ->
                  running++;
                  atomic { queued--; waiting ? next }
                  unlock();
                  started[next] = true;
                  starts++
              fi
           od;
           if
           :: starts == STARTS_MAX ->
               pumping = 0;
#ifndef MUTE
               mails++;
#endif
               break
           :: else -> skip
           fi;
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

proctype warden() {
    byte seen, next, starts;
end_asleep:
    do
    :: atomic { mails > 0 -> mails-- }
       pump()
    od
}

proctype call(byte id) {
    byte seen, next, starts;
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
    byte seen, next, starts;
    lock();
    most = 2;
    unlock();
    pump()
}

init {
    atomic { run call(0); run call(1); run call(2); run raise(); run warden() }
    ended == CALLS;
    assert(running == 0 && queued == 0 && len(waiting) == 0)
}
