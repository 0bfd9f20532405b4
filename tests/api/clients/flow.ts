// The main flow through the generated TypeScript client. Compiled strictly and run by tests/api/test_clients.py.

import { strict as assert } from "node:assert";
import { once } from "node:events";
import { createConnectSession, createPost, getPost, listPosts, type PostRead, type Problem } from "octavo-client";
import { client } from "octavo-client/client.gen";

const workspace_id = process.env.OCTAVO_WORKSPACE!;
const nowhere = "pst_01kazm3v9sfa4t2tq9gk1x7c5e";
client.setConfig({ baseUrl: process.env.OCTAVO_URL, auth: process.env.OCTAVO_API_KEY });

async function connect(): Promise<string> {
  const { data } = await createConnectSession({
    path: { workspace_id },
    body: { network: "sandbox", credentials: { handle: "always_ok" }, targets: "all" },
    throwOnError: true,
  });
  assert.equal(data.state, "completed");
  return data.accounts[0]!.id;
}

// Create with a key, and again: the same post, and it says so.
async function publish(account: string): Promise<string> {
  const wish = {
    path: { workspace_id },
    headers: { "Idempotency-Key": "rolls-1" },
    body: { account_ids: [account], text: "Fresh rolls from six o'clock.", schedule: "now" as const },
    throwOnError: true as const,
  };
  const first = await createPost(wish);
  const again = await createPost(wish);
  assert.deepEqual([first.response.status, again.response.status], [201, 201]);
  assert.equal(first.data.id, again.data.id);
  assert.equal(first.response.headers.get("Idempotent-Replayed"), null);
  assert.equal(again.response.headers.get("Idempotent-Replayed"), "true");
  assert.ok(first.response.headers.get("Location")?.endsWith(first.data.id));
  return first.data.id;
}

// Five posts, two on a page.
async function walk(account: string, published: string): Promise<void> {
  const made = new Set([published]);
  for (let number = 0; number < 4; number += 1) {
    const { data } = await createPost({
      path: { workspace_id },
      body: { account_ids: [account], text: `Draft ${number}` },
      throwOnError: true,
    });
    made.add(data.id);
  }
  const seen: PostRead[] = [];
  let pages = 0;
  let cursor: string | null | undefined;
  do {
    const query = { limit: 2, ...(cursor ? { cursor } : {}) };
    const { data } = await listPosts({ path: { workspace_id }, query, throwOnError: true });
    seen.push(...data.data);
    pages += 1;
    cursor = data.next_cursor;
  } while (cursor !== null);
  assert.deepEqual([pages, seen.length], [3, 5]);
  assert.deepEqual(new Set(seen.map((post) => post.id)), made);
}

async function refusals(): Promise<void> {
  const missing = await getPost({ path: { workspace_id, post_id: nowhere } });
  assert.equal(missing.response?.status, 404);
  const problem: Problem | undefined = missing.error;
  assert.equal(problem?.code, "not_found");
  assert.equal(problem?.request_id, missing.response?.headers.get("Request-Id"));
  const invalid = await createPost({ path: { workspace_id }, body: { account_ids: [] } });
  assert.equal(invalid.response?.status, 422);
  assert.equal(invalid.error?.code, "validation_failed");
  assert.equal(invalid.error?.errors[0]?.pointer, "/account_ids");
}

async function main(): Promise<void> {
  const account = await connect();
  const published = await publish(account);
  await walk(account, published);
  await refusals();
  console.log("WORK");
  await once(process.stdin, "data");
  process.stdin.destroy();
  const { data } = await getPost({ path: { workspace_id, post_id: published }, throwOnError: true });
  assert.deepEqual([data.delivery, data.publications[0]?.state], ["published", "published"]);
  assert.ok(data.publications[0]?.external_url);
  console.log("DONE");
}

void main();
