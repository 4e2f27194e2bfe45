/** Calls of tools by connections of their own: each may be answered by any worker of a server. */
import { request } from "node:http";

/** The answer's body; rejects when the connection breaks. */
export function callByNewConnection<Answer>(
  url: string,
  name: string,
  args: object,
): Promise<Answer> {
  const message = {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: { name, arguments: args },
  };
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/mcp`, {
      method: "POST",
      agent: false,
      headers: { "content-type": "application/json", "mcp-protocol-version": "2025-11-25" },
    }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => text += part);
      response.on("end", () => resolve(JSON.parse(text) as Answer));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(message));
  });
}
