/**
 * A program for `portable_test.ts`: loads a component, calls it without waiting for the answer, and
 * never closes anything. It has to end by itself after the answer.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { DEFAULT_LIMITS } from "../core/limits.ts";
import { openPortableSandbox } from "./portable.ts";

const bytes = new Uint8Array(readFileSync(process.argv[2] ?? ""));
const sandbox = await openPortableSandbox({});
const component = await sandbox.load({ id: "probe", bytes, limits: DEFAULT_LIMITS });
console.log("loaded");
const sleep = component.functions.findIndex((each) => each.name === "sleep");
void Promise.resolve(component.call(sleep, '{"ms":100}')).then(({ json }) => {
  console.log(`answered ${Number(json) >= 100 ? 100 : json}`);
});
