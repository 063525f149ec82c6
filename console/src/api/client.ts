// The typed client of the API: openapi-fetch with types generated from openapi.json.

import createClient from "openapi-fetch";
import { sessionFetch } from "./http.js";
import { queryOf } from "./query.js";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Failure = Schemas["Failure"];
export type ApiPaths = paths;

export const api = createClient<paths>({ baseUrl: location.origin, fetch: sessionFetch, querySerializer: queryOf });

/** A refusal of the API, in the person's language. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    failure: Failure | undefined,
  ) {
    super(failure?.message ?? `HTTP ${status}`);
    this.details = failure?.data ?? {};
  }

  readonly details: Partial<Failure["data"]>;

  get reason(): string | undefined {
    return this.details.reason;
  }
}

export type Outcome<Body> = { data?: Body; error?: unknown; response: Response };

/** The body of an answer; throws ApiError for a refusal. */
export async function answer<Body>(outcome: Promise<Outcome<Body>>): Promise<Body> {
  const { data, error, response } = await outcome;
  if (data === undefined) throw new ApiError(response.status, isFailure(error) ? error : undefined);
  return data;
}

/** The `data` of an answer; throws ApiError for a refusal. */
export async function dataOf<Data>(outcome: Promise<Outcome<{ data: Data }>>): Promise<Data> {
  return (await answer(outcome)).data;
}

function isFailure(value: unknown): value is Failure {
  return typeof value === "object" && value !== null && "code" in value && "message" in value;
}
