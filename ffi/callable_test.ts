/** What needs no library: names of functions, options of a call, letting go of a component. */
import assert from "node:assert/strict";
import { test } from "../tests/harness.ts";
import { FunctionNames, submitOptions } from "./callable.ts";
import type { NativeClient } from "./client.ts";
import { Component } from "./mod.ts";

test("the plain name of a function means the world's own before an interface's", () => {
  const own = { interface: null, name: "run" };
  const others = [{ interface: "a:b/c", name: "run" }, { interface: "a:b/d", name: "run" }];
  for (const functions of [[own, ...others], [...others, own], [others[0]!, own]]) {
    const names = new FunctionNames(functions);
    assert.equal(names.place("run"), functions.indexOf(own));
    assert.equal(names.place("a:b/c#run"), functions.indexOf(others[0]!));
  }
  assert.throws(() => new FunctionNames(others).place("run"), /several interfaces export it/);
});

test("a call without time left is refused, not given the usual time", () => {
  for (const budgetMs of [0, -1, NaN]) {
    assert.throws(() => submitOptions({ budgetMs }, 0), { name: "NativeError", code: "deadline" });
  }
  assert.equal(submitOptions({ budgetMs: 0.0001 }, 0).budgetUs, 1);
  assert.equal(submitOptions({}, 0).budgetUs, undefined);
});

test("a component's log listener goes, also when its engine is gone", async () => {
  const removed: number[] = [];
  const client = {
    addLog: () => 7,
    removeLog: (owner: number) => void removed.push(owner),
    control: () => Promise.reject(new Error("closed")),
  } as unknown as NativeClient;
  const reply = { component: 1, plugin: 1, digest: "", wit: "", functions: [] };
  const component = new Component(client, 1, reply, () => {});
  await assert.rejects(component.unload(), /closed/);
  assert.deepEqual(removed, [7]);
});
