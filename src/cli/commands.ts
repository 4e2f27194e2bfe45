/**
 * The commands and flags of `atoll`, as data: parsing, help and suggestions all read this.
 */

export interface FlagSpec {
  readonly name: string;
  /** How its value is called in help; absent for a flag without one. */
  readonly value?: string;
  /** May be given several times. */
  readonly many?: boolean;
  readonly help: string;
}

export interface CommandSpec {
  readonly name: string;
  /** Names of positional arguments; `?` at the end: may be left out. */
  readonly operands: readonly string[];
  readonly summary: string;
  readonly flags: readonly FlagSpec[];
  /** Lines below the flags. */
  readonly notes?: readonly string[];
}

const CONFIG: FlagSpec = {
  name: "config",
  value: "FILE",
  help: "configuration (default: atoll.json, when it is there)",
};
const PLUGINS: FlagSpec = {
  name: "plugins",
  value: "PATH",
  many: true,
  help: "a .wasm file, a plugin's folder, or a folder of those (default: plugins)",
};
const ENGINE: FlagSpec = {
  name: "engine",
  value: "auto|native|portable",
  help: "what runs components (default: auto)",
};
const LOG_LEVEL: FlagSpec = {
  name: "log-level",
  value: "debug|info|warn|error|silent",
  help: "least important lines on standard error (default: info)",
};
const JSON_OUTPUT: FlagSpec = { name: "json", help: "output for programs" };

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "serve",
    operands: [],
    summary: "serve plugins over MCP and HTTP",
    flags: [
      CONFIG,
      { name: "host", value: "HOST", help: "address to listen on (default: 127.0.0.1)" },
      { name: "port", value: "PORT", help: "port to listen on, 0 for any (default: 7420)" },
      {
        name: "workers",
        value: "N",
        help: "JavaScript threads that answer requests, 0 for one a CPU (default: 1)",
      },
      PLUGINS,
      ENGINE,
      LOG_LEVEL,
      { name: "stdio", help: "speak MCP on standard input and output instead of HTTP" },
      {
        name: "learn",
        value: "FILE",
        help: "write the grants that plugins needed, to be reviewed; grants nothing",
      },
    ],
    notes: [
      "Each key of the configuration can be set by a variable: ATOLL_PORT, ATOLL_HTTP__BODY_BYTES.",
    ],
  },
  {
    name: "inspect",
    operands: ["FILE.wasm"],
    summary: "show a component's WIT, tools, imports and the grants it asks for",
    flags: [CONFIG, ENGINE, LOG_LEVEL, JSON_OUTPUT],
  },
  {
    name: "explain",
    operands: ["PLUGIN"],
    summary: "show what a plugin may reach, and the grants that would allow what it wants",
    flags: [CONFIG, PLUGINS, LOG_LEVEL, JSON_OUTPUT],
  },
  {
    name: "call",
    operands: ["TOOL", "JSON?"],
    summary: "call a tool once and print its result",
    flags: [CONFIG, PLUGINS, ENGINE, LOG_LEVEL, JSON_OUTPUT],
    notes: [
      "JSON is an object of the tool's arguments, or - to read it from standard input.",
      "Exit status: 0 result, 1 error of the tool or of Atoll, 2 wrong usage.",
    ],
  },
  {
    name: "doctor",
    operands: [],
    summary: "check what this machine offers, what is degraded, and why",
    flags: [CONFIG, LOG_LEVEL, JSON_OUTPUT],
  },
  {
    name: "help",
    operands: ["COMMAND?"],
    summary: "explain a command",
    flags: [],
  },
];
