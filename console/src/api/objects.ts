// Objects of any resource that `GET /api/meta` describes. Their fields are known when the console runs, not before.

import { answer, api, ApiError, type Failure, type Schemas } from "./client.js";
import { sessionFetch } from "./http.js";
import { formOf, queryOf } from "./query.js";

export type AnyObject = { id: number; version: number } & Record<string, unknown>;
export type Page = { data: AnyObject[]; pagination: Schemas["Pagination"] };
type Query = Record<string, unknown>;
type Sent = { query?: Query; body?: unknown; form?: Query; version?: number | undefined; reason?: string | undefined };

/** Send a request to a path of a resource, such as `/api/servers/7`; throws ApiError for a refusal. */
export async function send<Body>(method: string, path: string, { query, body, form, version, reason }: Sent = {}): Promise<Body> {
  const headers = new Headers();
  if (body !== undefined) headers.set("Content-Type", "application/json");
  if (version !== undefined) headers.set("If-Match", `"${version}"`);
  if (reason) headers.set("X-Audit-Reason", encodeURIComponent(reason));
  const search = query ? queryOf(query) : "";
  const address = new URL(search ? `${path}?${search}` : path, location.origin);
  const content = form ? formOf(form) : body === undefined ? null : JSON.stringify(body);
  const response = await sessionFetch(new Request(address, { method, headers, body: content }));
  const answered = (await response.json().catch(() => undefined)) as Body | Failure | undefined;
  if (!response.ok) throw new ApiError(response.status, answered as Failure | undefined);
  return answered as Body;
}

export async function listObjects(path: string, query: Query = {}): Promise<Page> {
  return send<Page>("GET", path, { query });
}

export async function getObject(path: string, id: number, query: Query = {}): Promise<AnyObject> {
  return (await send<{ data: AnyObject }>("GET", `${path}/${id}`, { query })).data;
}

export async function loadMeta(): Promise<Schemas["Meta"]> {
  return (await answer(api.GET("/api/meta"))).data;
}
