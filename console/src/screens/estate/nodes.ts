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
      return { nodes: await environments(parent), next: null };
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
  const counts = await countServers("datacenter", {});
  const { data, pagination } = await listObjects("/api/datacenters", { cursor, sort: "name", page_size: PAGE_SIZE, total: "none" });
  const nodes = data.map((one) =>
    node({ key: `d${one.id}`, type: "datacenters", id: one.id, name: String(one.name), parent, object: one, count: counts.get(one.id)?.count ?? 0 }),
  );
  const rest = counts.get(0);
  if (rest && !pagination.next_cursor) nodes.push(node({ key: "d0", type: "datacenters", id: 0, name: "", parent, count: rest.count }));
  return { nodes, next: pagination.next_cursor ?? null };
}

async function environments(parent: Node): Promise<Node[]> {
  const counts = await countServers("environment", filterOf(parent));
  return [...counts].map(([id, { name, count }]) =>
    node({ key: `${parent.key}.e${id}`, type: "environments", id, name: name ?? "", parent, count }),
  );
}

/** The servers of each datacenter or environment; those without one are under 0. */
export async function countServers(field: "datacenter" | "environment", filter: Filter): Promise<Map<number, { name: string | null | undefined; count: number }>> {
  const facets = await dataOf(api.GET("/api/servers/facets", { params: { query: { fields: [field], filter } } }));
  return new Map((facets[field]?.values ?? []).map(({ value, name, count }) => [Number(value ?? 0), { name, count }]));
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
