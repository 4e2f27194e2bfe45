/** Sockets that are granted: whom a guest reaches, who reaches it, and names that change. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { NO_GRANTS } from "../../src/core/grants.ts";
import { test } from "../harness.ts";
import { failure } from "../conformance/support.ts";
import { nativeBench, withGuest } from "./support.ts";

const bench = nativeBench();

/** A TCP server on loopback that says `hello` and sends back what it hears. */
async function withServer(use: (port: number) => Promise<void>): Promise<void> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("hello");
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    server.close();
  }
}

if (bench !== null) {
  test("tcp: nothing is reached until its address is granted", async () => {
    await withServer(async (port) => {
      await withGuest(bench, {}, async (guest) => {
        await guest.expect(`connect c 127.0.0.1:${port}`, "access-denied");
        const denied = await guest.account(() => true);
        assert.deepEqual([denied.capability, denied.asked, denied.allowed], [
          "tcp",
          "a socket",
          false,
        ]);
      });
      const tcp = [{ host: "127.0.0.1", port }];
      await withGuest(bench, { tcp }, async (guest) => {
        const answers = await guest.steps(
          `connect c 127.0.0.1:${port}`,
          "hear c",
          "say c echoed",
          "hear c",
        );
        assert.deepEqual(answers, ["ok", "hello", "ok", "echoed"]);
        await guest.expect(`connect c 127.0.0.1:${port === 1 ? 2 : 1}`, "access-denied");
        await guest.expect(`connect c 127.0.0.2:${port}`, "access-denied");
        const denied = await guest.account(({ asked }) => asked.includes("127.0.0.2"));
        assert.deepEqual(denied, {
          capability: "tcp",
          asked: `connect to 127.0.0.2:${port}`,
          allowed: false,
          grant: { tcp: [{ host: "127.0.0.2", port }] },
        });
      });
    });
  });

  test("tcp: a range of the whole Internet has no address of the host or its network", async () => {
    const tcp = [{ host: "0.0.0.0/0", port: [1, 65_535] as const }, {
      host: "::/0",
      port: [1, 65_535] as const,
    }];
    await withServer(async (port) => {
      await withGuest(bench, { tcp }, async (guest) => {
        for (
          const special of [
            `127.0.0.1:${port}`,
            "10.0.0.1:80",
            "192.168.0.1:80",
            "172.16.0.1:80",
            "169.254.169.254:80",
            "100.100.100.200:80",
            `[::1]:${port}`,
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[64:ff9b::7f00:1]:80",
            "[2002:7f00:1::]:80",
          ]
        ) await guest.expect(`connect c ${special}`, "access-denied");
        // Not even an address: refused by what a socket may be given.
        await guest.expect(`connect c [::ffff:127.0.0.1]:${port}`, "invalid-argument");
      });
    });
  });

  test("names: what is not granted is not asked for, and no name leads to the host", async () => {
    await withServer(async (port) => {
      const tcp = [{ host: "localhost", port }];
      await withGuest(bench, { tcp }, async (guest) => {
        await guest.expect("lookup example.com", "access-denied");
        const denied = await guest.account(() => true);
        assert.deepEqual(denied, {
          capability: "tcp",
          asked: "look up example.com",
          allowed: false,
          grant: { tcp: [{ host: "example.com", port: [1, 65_535] }] },
        });
        // Its addresses are loopback ones, which no name gives away.
        await guest.expect("lookup localhost", "ok");
        await guest.expect(`connect c 127.0.0.1:${port}`, "access-denied");
        await guest.expect("lookup a..b", "invalid-argument");
        await guest.expect("lookup 127.0.0.1", "127.0.0.1");
      });
      await withGuest(bench, { tcp: [...tcp, { host: "127.0.0.0/8", port }] }, async (guest) => {
        const [found = ""] = await guest.steps("lookup LOCALHOST.");
        assert.ok(found.split(" ").includes("127.0.0.1"), found);
        await guest.expect(`connect c 127.0.0.1:${port}`, "ok");
      });
    });
  });

  test("tcp: it is reached only where it may listen", async () => {
    await withGuest(bench, { tcp: [{ host: "127.0.0.1", port: 1 }] }, async (guest) => {
      for (const at of ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:1"]) {
        await guest.expect(`listen l ${at}`, "access-denied");
      }
    });
    const tcp = [{ host: "127.0.0.1", port: 0, listen: true }];
    await withGuest(bench, { tcp }, async (guest) => {
      await guest.expect("listen l 0.0.0.0:0", "access-denied");
      await guest.expect("connect c 127.0.0.1:1", "access-denied");
    });
    await withGuest(bench, { tcp }, async (guest) => {
      const serving = guest.steps("listen l 127.0.0.1:0", "accept l c", "say c hi");
      const listens = /^listen at 127\.0\.0\.1:(\d+)$/;
      const { asked, grant } = await guest.account(({ asked }) => listens.test(asked));
      // The port is another one at each run: not that of a policy.
      assert.deepEqual(grant, { tcp });
      const port = listens.exec(asked)?.[1] ?? "";
      let heard = "";
      while (heard === "") heard = await hear(Number(port));
      assert.equal(heard, "hi");
      assert.deepEqual(await serving, [port, "ok", "ok"]);
    }, { observe: true });
  });

  test("udp: a rule that listens at one address takes nothing at others", async () => {
    const udp = [{ host: "127.0.0.1", port: 0, listen: true }];
    await withGuest(bench, { udp }, async (guest) => {
      await guest.expect("udp u 0.0.0.0:0", "access-denied");
      const [port = ""] = await guest.steps("udp u 127.0.0.1:0");
      assert.match(port, /^\d+$/);
    });
  });

  test("udp: datagrams go to and come from what is granted", async () => {
    const peer = createSocket("udp4");
    peer.bind(0, "127.0.0.1");
    await once(peer, "listening");
    const { port } = peer.address();
    try {
      peer.on("message", (message, from) => peer.send(`${message}!`, from.port, from.address));
      await withGuest(bench, { udp: [{ host: "127.0.0.1", port }] }, async (guest) => {
        const answers = await guest.steps(
          "udp u 0.0.0.0:0",
          `send u 127.0.0.1:${port} ping`,
          "receive u",
          "send u 127.0.0.2:53 ping",
        );
        assert.deepEqual(answers.slice(1), ["1", "ping!", "access-denied"]);
        await guest.expect("udp u 127.0.0.1:0", "access-denied");
        await guest.expect(`connect c 127.0.0.1:${port}`, "access-denied");
      });
    } finally {
      peer.close();
    }
  });

  test("sockets: how many there are is bounded", async () => {
    await withGuest(bench, { tcp: [{ host: "127.0.0.1", port: 1 }] }, async (guest) => {
      await guest.expect("sockets 500", "64 new-socket-limit");
      // They were closed with their instance.
      await guest.expect("sockets 64", "64");
    });
  });

  test("sockets: what is no rule is refused with its key", async () => {
    const wrong = [{ host: "10.0.0.0/40", port: 1 }];
    const error = await failure(
      "invalid_argument",
      () => bench.load("granted", {}, { grants: { ...NO_GRANTS, tcp: wrong } }),
    );
    assert.ok(error.message.includes("grants.tcp[0].host"), error.message);
  });

  test("grants of sockets: the engine closes", async () => {
    await bench.close();
  });
}

/** What a server on loopback says first; empty where none listens yet. */
async function hear(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  try {
    const [chunk] = await once(socket, "data");
    return String(chunk);
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return "";
  } finally {
    socket.destroy();
  }
}
