/**
 * What a server's own thread and its further workers say to each other: plain data.
 *
 * Owns: the messages, and a registry's changes as such. Each side takes what the other one says in
 * the order in which it was said.
 */
import type { Config } from "../../config/schema.ts";
import { AtollError, type ErrorCode, type ErrorData, toAtollError } from "../../core/errors.ts";
import type { ServerState, WorkersHealth } from "../../http/health.ts";
import {
  type GuestListeners,
  listenersFor,
  Plugin,
  type PluginProfile,
} from "../../plugins/plugin.ts";
import type { Registry, RegistryChange } from "../../plugins/registry.ts";
import type { ComponentShare, NativeSandbox, NativeSandboxOptions } from "../../sandbox/native.ts";
import { redactAll, redactions } from "../../telemetry/redaction.ts";

/** What a worker is started with. */
export interface WorkerStart {
  readonly config: Config;
  readonly engine: NativeSandboxOptions;
  /** Whether log lines are coloured. */
  readonly colour: boolean;
  /** Bytes of log lines that were sent and are not written yet: one 32-bit word. */
  readonly logBytes: SharedArrayBuffer;
}

/** An error on its way. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: ErrorData;
  /** Of a fault: its place is what one needs to know. */
  readonly stack?: string;
}

export type RegistryMessage =
  | { readonly op: "begin"; readonly id: string }
  | { readonly op: "fail"; readonly id: string; readonly error: SentError }
  | {
    readonly op: "add";
    readonly profile: PluginProfile;
    readonly component: ComponentShare;
    /** What lines of its guests must not show. */
    readonly redactions: ReturnType<typeof redactions>;
  }
  | { readonly op: "remove"; readonly id: string };

export type ToWorker =
  | RegistryMessage
  | { readonly op: "state"; readonly state: ServerState }
  | { readonly op: "health"; readonly workers: WorkersHealth }
  | { readonly op: "serve"; readonly port: number }
  | { readonly op: "stop"; readonly graceMs: number };

/** A message and its number, which the worker gives back. */
export interface Numbered {
  readonly number: number;
  readonly message: ToWorker;
}

export type FromWorker =
  /** It listens to messages from now on. */
  | { readonly op: "hello" }
  | { readonly op: "heard"; readonly number: number }
  | { readonly op: "serving" }
  /** It could not start, and ends. */
  | { readonly op: "failed"; readonly error: SentError }
  /** Whole lines. */
  | { readonly op: "log"; readonly text: string }
  /** It has stopped; whether all calls had ended by themselves. */
  | { readonly op: "stopped"; readonly ended: boolean };

export function sentError(thrown: unknown): SentError {
  const { code, message, data } = toAtollError(thrown);
  const stack = code === "internal" && thrown instanceof Error ? thrown.stack : undefined;
  return { code, message, data, ...(stack === undefined ? {} : { stack }) };
}

export function receivedError({ code, message, data, stack }: SentError): AtollError {
  const error = new AtollError(code, message, data);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/**
 * A change of this isolate's registry for the others.
 * @throws AtollError internal: the plugin is on an engine that lives in one isolate
 */
export function messageOf(change: RegistryChange, sandbox: NativeSandbox): RegistryMessage {
  switch (change.kind) {
    case "begin":
    case "remove":
      return { op: change.kind, id: change.id };
    case "fail":
      return { op: "fail", id: change.id, error: sentError(change.error) };
    case "add": {
      const { id, profile } = change.plugin;
      const component = sandbox.shareOf(change.plugin.component);
      if (component === null) {
        throw new AtollError(
          "internal",
          `Cannot tell workers of plugin "${id}": its engine is alone`,
        );
      }
      return { op: "add", profile, component, redactions: redactions() };
    }
  }
}

/** Follows a change that another isolate's registry has made. */
export function applyChange(
  message: RegistryMessage,
  registry: Registry,
  sandbox: NativeSandbox,
  listeners: GuestListeners,
): void {
  switch (message.op) {
    case "begin":
      return registry.begin(message.id);
    case "fail":
      return registry.fail(message.id, receivedError(message.error));
    case "remove":
      // Lets go of it: whoever loaded it unloads it.
      return void registry.remove(message.id)?.component.unload();
    case "add": {
      const { profile, component } = message;
      redactAll(message.redactions);
      const attached = sandbox.attach(component, listenersFor(profile.id, listeners));
      return registry.add(new Plugin(profile, attached));
    }
  }
}
