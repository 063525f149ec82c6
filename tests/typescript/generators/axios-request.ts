// How orval's axios client sends a request: with our style of filters, and the answer's body as the result.

import axios, { type AxiosRequestConfig } from "axios";
import { queryOf } from "./query.js";

export const server = axios.create({ paramsSerializer: { serialize: queryOf } });

export async function request<T>(config: AxiosRequestConfig): Promise<T> {
  return (await server.request<T>(config)).data;
}
