/** Folders that are granted: what a guest finds there, how much it may write, and no way out. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { NO_GRANTS } from "../../src/core/grants.ts";
import { test } from "../harness.ts";
import { failure } from "../conformance/support.ts";
import { nativeBench, withFolder, withGuest } from "./support.ts";

const bench = nativeBench();

const MIB = 1024 * 1024;

if (bench !== null) {
  test("folders: nothing is there until it is granted, and then what is granted", async () => {
    await withFolder(async (path) => {
      writeFileSync(join(path, "a.txt"), "content");
      await withGuest(
        bench,
        {},
        async (guest) => assert.deepEqual(await guest.call("folders"), []),
      );
      await withGuest(bench, { folders: [{ path, at: "/data" }] }, async (guest) => {
        assert.deepEqual(await guest.call("folders"), ["/data"]);
        await guest.expect("read /data/a.txt", "content");
        await guest.expect("list /data", "a.txt");
        await guest.expect("read /data/b.txt", "no-entry");
      });
    });
  });

  test("folders: what may only be read is not changed in any way", async () => {
    await withFolder(async (path) => {
      writeFileSync(join(path, "a"), "content");
      mkdirSync(join(path, "d"));
      await withGuest(bench, { folders: [{ path, at: "/data" }] }, async (guest) => {
        for (
          const step of [
            "hold f /data/a write",
            "hold f /data/new create",
            "hold f /data/a truncate",
            "mkdir /data/x",
            "rmdir /data/d",
            "unlink /data/a",
            "symlink a /data/l",
            "link /data/a /data/b",
            "rename /data/a /data/b",
          ]
        ) await guest.expect(step, "not-permitted");
        const held = await guest.steps(
          "hold f /data/a read",
          "write f 0 1",
          "stream f 0 1",
          "append f 1",
          "set-size f 0",
        );
        assert.deepEqual(held, ["ok", ...Array(4).fill("not-permitted")]);
        const denied = await guest.account(({ allowed }) => !allowed);
        assert.deepEqual(denied, {
          capability: "folders",
          asked: 'write below "/data"',
          allowed: false,
          grant: { folders: [{ path, at: "/data", write: true }] },
        });
      });
      assert.equal(readFileSync(join(path, "a"), "utf8"), "content");
      assert.deepEqual(readdirSync(path).sort(), ["a", "d"]);
    });
  });

  test("folders: every way to grow a file ends at the quota, and the denial names it", async () => {
    for (
      const grow of [
        "stream f 0 20000",
        "append f 20000",
        "write f 0 20000",
        "set-size f 20000",
        "write f 19999 1",
        "stream f 19999 1",
      ]
    ) {
      await withFolder(async (path) => {
        const folders = [{ path, at: "/data", write: true, bytes: 16_384 }];
        await withGuest(bench, { folders }, async (guest) => {
          const answers = await guest.steps("hold f /data/f create", grow);
          assert.deepEqual(answers, ["ok", "quota"], grow);
          const denied = await guest.account(({ allowed }) => !allowed);
          assert.deepEqual([denied.asked, denied.grant], [
            'more than the limit of 16384 bytes below "/data", grants.folders[0].bytes',
            { folders: [{ path, at: "/data", write: true, bytes: 32_768 }] },
          ]);
        });
        assert.ok(statSync(join(path, "f")).size <= 16_384 - 4_096, grow);
      });
    }
  });

  test("folders: the quota is the plugin's, over instances and restarts, and entries count", async () => {
    await withFolder(async (path) => {
      writeFileSync(join(path, "before"), new Uint8Array(10_000));
      const folders = [{ path, at: "/data", write: true, bytes: 30_000 }];
      await withGuest(bench, { folders }, async (guest) => {
        await guest.expect("set-size /data/a 10000", "ok");
        // 2 entries and 20,000 bytes: an entry more does not fit.
        await guest.expect("mkdir /data/d", "quota");
        await guest.expect("append /data/a 2000", "quota");
        await guest.expect("append /data/a 1808", "ok");
        await guest.expect("append /data/a 1", "quota");
      });
      await withGuest(bench, { folders }, async (guest) => {
        await guest.expect("append /data/a 1", "quota");
        await guest.expect("unlink /data/before", "ok");
        await guest.expect("append /data/a 10000", "ok");
        await guest.expect("mkdir /data/d", "ok");
        await guest.expect("append /data/a 1", "quota");
      });
      assert.deepEqual(readdirSync(path).sort(), ["a", "d"]);
    });
  });

  test("folders: a removed file that is open goes on counting", async () => {
    await withFolder(async (path) => {
      const folders = [{ path, at: "/data", write: true, bytes: 30_000 }];
      await withGuest(bench, { folders }, async (guest) => {
        const answers = await guest.steps(
          "hold a /data/a create",
          "set-size a 20000",
          "unlink /data/a",
          "hold b /data/b create",
          "set-size b 20000",
          "drop a",
          "set-size b 20000",
        );
        assert.deepEqual(answers, ["ok", "ok", "ok", "ok", "quota", "ok", "ok"]);
        // The next instance has nothing open.
        await guest.expect("unlink /data/b", "ok");
        await guest.expect("set-size /data/c 20000", "ok");
      });
    });
  });

  test("folders: no path, link or move leads out", async () => {
    await withFolder(async (path) => {
      const [inside, outside, other] = ["in", "out", "other"].map((name) => join(path, name));
      for (const each of [inside, outside, other]) mkdirSync(each ?? "");
      if (inside === undefined || outside === undefined || other === undefined) return;
      writeFileSync(join(outside, "secret"), "secret");
      writeFileSync(join(inside, "own"), "own");
      symlinkSync(join(outside, "secret"), join(inside, "absolute"));
      symlinkSync("../out/secret", join(inside, "relative"));
      symlinkSync("../out", join(inside, "folder"));
      symlinkSync("/proc/self/root", join(inside, "magic"));
      // What the operator links into the folder is in it.
      linkSync(join(outside, "secret"), join(inside, "hard"));
      const folders = [
        { path: inside, at: "/in", write: true },
        { path: other, at: "/other", write: true },
      ];
      await withGuest(bench, { folders }, async (guest) => {
        for (
          const out of [
            "../out/secret",
            "x/../../out/secret",
            "absolute",
            "relative",
            "folder/secret",
            "magic/etc/passwd",
            "/etc/passwd",
          ]
        ) {
          for (const verb of ["read", "size", "unlink", "hold f"]) {
            if (verb === "unlink" && (out === "absolute" || out === "relative")) continue;
            if (verb === "size" && (out === "absolute" || out === "relative")) continue;
            const step = `${verb} /in/${out}${verb === "hold f" ? " create" : ""}`;
            const [answer = ""] = await guest.steps(step);
            assert.match(answer, /^(not-permitted|no-entry|access|loop|exist)$/, step);
          }
        }
        await guest.expect("symlink /etc/passwd /in/planted", "not-permitted");
        await guest.expect("symlink ../../out/secret /in/up", "ok");
        await guest.expect("read /in/up", "not-permitted");
        await guest.expect("rename /in/own /other/own", "cross-device");
        await guest.expect("link /in/own /other/own", "cross-device");
        await guest.expect("rename /in/own /in/../out/own", "not-permitted");
        await guest.expect("link /in/../out/secret /in/stolen", "not-permitted");
        await guest.expect("read /in/hard", "secret");
      });
      assert.equal(readFileSync(join(outside, "secret"), "utf8"), "secret");
      assert.deepEqual(readdirSync(outside), ["secret"]);
      assert.deepEqual(readdirSync(other), []);
    });
  });

  test("folders: a pipe holds nobody's thread, and no device is opened", async () => {
    await withFolder(async (path) => {
      execFileSync("mkfifo", [join(path, "pipe")]);
      symlinkSync("/dev/zero", join(path, "device"));
      const folders = [{ path, at: "/data", write: true }];
      await withGuest(bench, { folders }, async (guest) => {
        // More than the engine has threads for blocking work.
        const steps = Array(600).fill("hold f /data/pipe read");
        const answers = new Set(await guest.steps(...steps, "hold f /data/pipe write"));
        assert.deepEqual([...answers], ["not-permitted"]);
        await guest.expect("read /data/device", "not-permitted");
        await guest.expect("set-size /data/after 1", "ok");
      });
    });
  });

  test("folders: what a guest holds open is bounded for its plugin", async () => {
    await withFolder(async (path) => {
      writeFileSync(join(path, "a"), "");
      await withGuest(bench, { folders: [{ path, at: "/data" }] }, async (guest) => {
        await guest.expect("open-many /data/a 900", "256 insufficient-memory");
        // They were closed with their instance.
        await guest.expect("read /data/a", "ok");
      });
      for (let n = 0; n < 2_000; n++) writeFileSync(join(path, `f${n}`), "");
      await withGuest(bench, { folders: [{ path, at: "/data" }] }, async (guest) => {
        await guest.expect("list-many /data 900", "32 insufficient-memory");
      });
    });
  });

  test("folders: what cannot be granted is refused with its path", async () => {
    await withFolder(async (path) => {
      writeFileSync(join(path, "file"), "");
      for (const wrong of ["none", "file"]) {
        const folders = [{ path: join(path, wrong), at: "/data" }];
        const error = await failure(
          "invalid_argument",
          () => bench.load("granted", {}, { grants: { ...NO_GRANTS, folders } }),
        );
        assert.ok(error.message.includes(join(path, wrong)), error.message);
      }
    });
  });

  test("folders: a large file goes through as it is", async () => {
    await withFolder(async (path) => {
      const folders = [{ path, at: "/data", write: true, bytes: 4 * MIB }];
      await withGuest(bench, { folders }, async (guest) => {
        await guest.expect(`stream /data/a 0 ${3 * MIB}`, "ok");
        await guest.expect("append /data/a 5", "ok");
      });
      const bytes = readFileSync(join(path, "a"));
      assert.equal(bytes.length, 3 * MIB + 5);
      assert.ok(bytes.every((byte) => byte === "x".charCodeAt(0)));
    });
  });

  test("grants of folders: the engine closes", async () => {
    await bench.close();
  });
}
