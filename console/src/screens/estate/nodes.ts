// The estate as nodes, read from the API as they are opened: datacenter, environment, server, and what is on it.

import { answer, api, dataOf } from "../../api/client.js";
import { meta } from "../../api/meta.svelte.js";
import { listObjects, type AnyObject } from "../../api/objects.js";
import { nameOf, toneOf } from "../../parts/values.js";
import { t } from "./texts.js";

/** How a node is called in the address: `d1`, `d1.e2` (an environment within a datacenter), `s7`, `c5`, `v9`, `g3`; 0 is none. */
export type Key = string;
export type Node = {
  key: Key;
  /** The resource that the node is one of; an environment is those servers of the datacenter that are in it. */
  type: string;
  id: number;
  name: string;
  parent: Node | undefined;
  object: AnyObject | undefined;
  /** Of a datacenter or environment: its servers. */
  count: number | undefined;
  mayOpen: boolean;
  isGone: boolean;
  /** Whether there are new children that are not shown yet. */
  hasNew: boolean;
  children: Node[] | undefined;
  /** The cursor of the children that are not read yet. */
  next: string | null;
  isLoading: boolean;
  failure: unknown;
};
type Page = { nodes: Node[]; next: string | null };
type Filter = Record<string, string | number | boolean>;

export const PAGE_SIZE = 100;

type Given = Pick<Node, "key" | "type" | "id" | "name" | "parent"> & Partial<Node>;

export function node(given: Given): Node {
  return { object: undefined, count: undefined, mayOpen: true, isGone: false, hasNew: false, children: undefined, next: null, isLoading: false, failure: undefined, ...given };
}

/** The first children of a node, or those after a cursor. */
export async function childrenOf(parent: Node, cursor: string): Promise<Page> {
  switch (parent.type) {
    case "":
      return datacenters(parent, cursor);
    case "datacenters":
      return environments(parent, cursor);
    case "environments":
      return servers(parent, cursor);
    case "servers":
      return { nodes: await withChildren([parent.id]).then(([server]) => (server ? belowServer(parent, server) : [])), next: null };
    default:
      return { nodes: parent.children ?? [], next: null };
  }
}

/** Which servers are below a datacenter or an environment, as the list of servers filters them. */
export function filterOf({ type, id, parent }: Node): Filter {
  const field = type === "datacenters" ? "datacenter_id" : "environment_id";
  const own: Filter = id ? { [field]: id } : { [`${field}__isnull`]: true };
  return type === "environments" && parent ? { ...filterOf(parent), ...own } : own;
}

async function datacenters(parent: Node, cursor: string): Promise<Page> {
  const { data, pagination } = await listObjects("/api/datacenters", { cursor, sort: "name", page_size: PAGE_SIZE, total: "none" });
  const { counts } = await countServers("datacenter", {}, data.map(({ id }) => id));
  const nodes = data.map((one) =>
    node({ key: `d${one.id}`, type: "datacenters", id: one.id, name: String(one.name), parent, object: one, count: counts.get(one.id)?.count ?? 0 }),
  );
  const rest = counts.get(0);
  if (rest && !pagination.next_cursor) nodes.push(node({ key: "d0", type: "datacenters", id: 0, name: "", parent, count: rest.count }));
  return { nodes, next: pagination.next_cursor ?? null };
}

/** The environments of a datacenter's servers: at once where they are few, else a page of all environments at a time. */
async function environments(parent: Node, cursor: string): Promise<Page> {
  const filter = filterOf(parent);
  const { counts, more } = cursor ? { counts: new Map<number, Count>(), more: true } : await countServers("environment", filter);
  if (!more) return { nodes: [...counts].map(([id, { name, count }]) => environment(parent, id, name, count)), next: null };
  const { data, pagination } = await listObjects("/api/environments", { cursor, sort: "name", page_size: PAGE_SIZE, total: "none" });
  const page = await countServers("environment", filter, data.map(({ id }) => id));
  const nodes = data.flatMap(({ id, name }) => {
    const found = page.counts.get(id);
    return found ? [environment(parent, id, String(name), found.count)] : [];
  });
  const rest = page.counts.get(0);
  if (rest && !pagination.next_cursor) nodes.push(environment(parent, 0, "", rest.count));
  return { nodes, next: pagination.next_cursor ?? null };
}

function environment(parent: Node, id: number, name: string | null | undefined, count: number): Node {
  return node({ key: `${parent.key}.e${id}`, type: "environments", id, name: name ?? "", parent, count });
}

type Count = { name: string | null | undefined; count: number };
type Counts = { counts: Map<number, Count>; /** Whether there are others than those that are counted. */ more: boolean };

/** The servers of each datacenter or environment, of `ids` in any case; those without one are under 0. */
export async function countServers(field: "datacenter" | "environment", filter: Filter, ids: readonly number[] = []): Promise<Counts> {
  const { counts, more } = await countMost(field, filter, {});
  if (!more) return { counts, more };
  // The API counts the most frequent values: the others are asked for by their ids.
  const missing = ids.filter((id) => !counts.has(id));
  for (let begin = 0; begin < missing.length; begin += PAGE_SIZE) {
    const related = { [`${field}.id__in`]: missing.slice(begin, begin + PAGE_SIZE).join(",") };
    for (const [id, count] of (await countMost(field, filter, related)).counts) counts.set(id, count);
  }
  if (!counts.has(0)) {
    const { pagination } = await listObjects("/api/servers", { ...filter, [`${field}_id__isnull`]: true, page_size: 1 });
    if (pagination.total) counts.set(0, { name: undefined, count: pagination.total });
  }
  return { counts, more };
}

async function countMost(field: "datacenter" | "environment", filter: Filter, related: Record<string, string>): Promise<Counts> {
  const facets = await dataOf(api.GET("/api/servers/facets", { params: { query: { fields: [field], filter, related } } }));
  const { values, more } = facets[field] ?? { values: [], more: false };
  return { counts: new Map(values.map(({ value, name, count }) => [Number(value ?? 0), { name, count }])), more };
}

async function servers(parent: Node, cursor: string): Promise<Page> {
  const query = { filter: filterOf(parent), cursor, sort: ["name" as const], page_size: PAGE_SIZE, total: "none" as const };
  const { data, pagination } = await answer(api.GET("/api/servers/tree", { params: { query } }));
  return { nodes: data.map((server) => serverNode(parent, server as AnyObject)), next: pagination.next_cursor ?? null };
}

function serverNode(parent: Node, object: AnyObject): Node {
  return node({ key: `s${object.id}`, type: "servers", id: object.id, name: called("servers", object), parent, object });
}

/** Servers with all that is on them, at most a hundred. */
export async function withChildren(ids: readonly number[]): Promise<AnyObject[]> {
  const query = { filter: { id__in: [...ids] }, level: 3 as const, page_size: PAGE_SIZE, total: "none" as const };
  return (await answer(api.GET("/api/servers/tree", { params: { query } }))).data as AnyObject[];
}

export function belowServer(parent: Node, server: AnyObject): Node[] {
  return [...leaves(parent, "c", "containers", server.containers), ...leaves(parent, "v", "services", server.services), ...leaves(parent, "g", "gpus", server.gpus)];
}

function leaves(parent: Node, letter: string, type: string, objects: unknown): Node[] {
  return ((objects ?? []) as AnyObject[]).map((object) => {
    const made = node({ key: `${letter}${object.id}`, type, id: object.id, name: called(type, object), parent, object, mayOpen: false });
    const services = leaves(made, "v", "services", object.services);
    return { ...made, mayOpen: services.length > 0, children: services };
  });
}

function called(type: string, object: AnyObject): string {
  const resource = meta.resource(type);
  return resource ? nameOf(resource, object) : `#${object.id}`;
}

/** What a node is called, in the language of now. */
export function titleOf({ type, id, name, object }: Node): string {
  if (type === "gpus" && object) return t("gpu", { model: String(object.model), slot: String(object.slot ?? "?") });
  return id ? name : t(type === "datacenters" ? "noDatacenter" : "noEnvironment");
}

/** The tone of a node's state. */
export function toneOfState(state: unknown): string {
  return toneOf(state) || (state === "assigned" ? "accent" : "");
}
