/* The warden's mailbox. */
#include "harness.h"

static uint32_t mails_read;

static void count_mail(atoll__mail_t mail, uint32_t number) {
    CHECK_EQUAL(mail, ATOLL__MAIL_ORPHAN);
    CHECK_EQUAL(number, mails_read);
    mails_read++;
    /* Read the next time. */
    if (number == 3) atoll__mailbox_post(mail, 5);
}

TEST(mailbox, "mails are read in order, each once; more than fit are reported as lost") {
    /* The library is closed: nobody else reads. */
    peer_t peer = peer_open();
    peer_close(&peer);
    mails_read = 0;
    CHECK(!atoll__mailbox_waiting());
    for (uint32_t i = 0; i < 5; i++) atoll__mailbox_post(ATOLL__MAIL_ORPHAN, i);
    CHECK(atoll__mailbox_drain(count_mail));
    CHECK_EQUAL(mails_read, 5);
    CHECK(atoll__mailbox_waiting());
    CHECK(atoll__mailbox_drain(count_mail));
    CHECK_EQUAL(mails_read, 6);
    CHECK(!atoll__mailbox_waiting());
    mails_read = 10;
    for (uint32_t i = 0; i < 3000; i++) atoll__mailbox_post(ATOLL__MAIL_ORPHAN, 10 + i);
    CHECK(!atoll__mailbox_drain(count_mail));
    CHECK(mails_read > 1000);
    CHECK(!atoll__mailbox_waiting());
    CHECK(atoll__mailbox_drain(count_mail));
}
