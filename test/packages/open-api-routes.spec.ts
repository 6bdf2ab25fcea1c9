import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { type Context, type Service, ServiceBroker, type ServiceSchema } from "moleculer";
import { OpenApi } from "moleculer-open-api";
import ApiGateway from "moleculer-web";
import { eventually } from "../support/eventually.ts";

interface Operation {
  summary: string;
  tags: string[];
  security?: object[];
  parameters?: { in: string; name: string; required: boolean; schema: object }[];
  requestBody?: { required: boolean; content: Record<string, { schema: object }> };
  responses: Record<string, unknown>;
}
interface Document {
  tags: { name: string }[];
  paths: Record<string, Record<string, Operation>>;
}

const pass = (_req: unknown, _res: unknown, next: () => void) => next();
const handler = (ctx: Context) => ctx.params;

const posts: ServiceSchema = {
  name: "posts",
  actions: {
    list: { params: { limit: "number|convert|optional" }, handler },
    get: { params: { id: "uuid", full: { type: "boolean", convert: true, default: false } }, handler },
    create: {
      params: { $$strict: true, title: "string|min:3", author: { $$type: "object", name: "email" } },
      handler,
    },
    update: { params: { id: "uuid", title: "string" }, openapi: { summary: "Changes a post" }, handler },
    remove: {
      params: { id: "uuid" },
      openapi: { deprecated: true, responses: { 204: { description: "Gone." } } },
      handler,
    },
    split: {
      params: {
        params: { type: "object", props: { id: "number|convert" } },
        query: { type: "object", props: { full: "boolean|convert" } },
        body: { type: "object", props: { text: "string" } },
      },
      handler,
    },
    hidden: { openapi: false, handler },
    inner: { visibility: "public", handler },
    secret: { handler },
    upload: { handler },
  },
};

let broker: ServiceBroker;
let url: string;

beforeAll(async () => {
  broker = new ServiceBroker({ logger: false });
  broker.createService(posts);
  const info = { title: "Posts <b>", version: "1" };
  const security = [{ bearer: [] }];
  const securitySchemes = { bearer: { type: "http", scheme: "bearer" } };
  const gateway = broker.createService({
    name: "api",
    mixins: [ApiGateway as ServiceSchema, OpenApi({ info, path: "/docs", security, securitySchemes })],
    settings: {
      port: 0,
      ip: "127.0.0.1",
      debounceTime: 10,
      path: "/v1",
      // Routes in the order of this list: a placeholder takes every path that it matches before another alias.
      optimizeOrder: false,
      routes: [
        {
          path: "/",
          blacklist: ["posts.secret"],
          aliases: {
            "REST /posts": { action: "posts", except: ["patch"] },
            "GET /latest": [pass, "posts.list"],
            "/any": "posts.list",
            "GET /hidden": "posts.hidden",
            "GET /inner": "posts.inner",
            "GET /secret": "posts.secret",
            "GET /nothing": "posts.nothing",
            "GET /health": (_req: unknown, res: { end(text: string): void }) => res.end("fine"),
            "GET /named": {
              action: "posts.list",
              openapi: { summary: "Named by the alias", tags: ["named"] },
            },
            "GET /:one": "posts.list",
          },
        },
        {
          path: "/apart",
          mergeParams: false,
          authentication: true,
          bodyParsers: { json: true, urlencoded: { extended: true } },
          aliases: { "PUT /:id": "posts.split" },
        },
        {
          path: "/files",
          bodyParsers: false,
          aliases: { "POST /": "multipart:posts.upload", "PUT /:name": "stream:posts.upload" },
        },
        { path: "/own", openapi: false, aliases: { "GET /": "posts.list" } },
        { path: "/auto", autoAliases: true, whitelist: ["authors.*"], aliases: {} },
      ],
    },
    methods: { authenticate: async () => ({ id: 1 }) },
  });
  await broker.start();
  url = `${addressOf(gateway)}/v1`;
});
afterAll(() => broker.stop());

function addressOf(gateway: Service): string {
  const { server } = gateway as unknown as { server: Server };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const read = async (): Promise<Document> =>
  (await (await fetch(`${url}/docs/openapi.json`)).json()) as Document;
const operation = async (method: string, path: string) => (await read()).paths[path]?.[method];
const parameters = ({ parameters = [] }: Operation) =>
  parameters.map((one) => `${one.in} ${one.name}${one.required ? "" : "?"}`);

describe("the OpenAPI mixin", () => {
  it("makes a valid document of every alias that can be called, and of no other", async () => {
    const document = await read();
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(operations.toSorted()).toEqual([
      "delete /v1/posts/{id}",
      "get /v1/any",
      "get /v1/health",
      "get /v1/latest",
      "get /v1/named",
      "get /v1/posts",
      "get /v1/posts/{id}",
      "get /v1/{one}",
      "post /v1/any",
      "post /v1/files",
      "post /v1/posts",
      "put /v1/apart/{id}",
      "put /v1/files/{name}",
      "put /v1/posts/{id}",
    ]);
  });

  it("puts parameters of an action into path, query and body, by the method", async () => {
    const { get, put, delete: remove } = (await read()).paths["/v1/posts/{id}"] ?? {};
    expect(parameters(get as Operation)).toEqual(["path id", "query full?"]);
    expect(parameters(remove as Operation)).toEqual(["path id"]);
    expect(parameters(put as Operation)).toEqual(["path id"]);
    expect(get?.requestBody).toBeUndefined();
    expect(put?.requestBody).toMatchObject({
      required: true,
      content: {
        "application/json": { schema: { properties: { title: { type: "string" } }, required: ["title"] } },
      },
    });
    const create = await operation("post", "/v1/posts");
    expect(create?.requestBody?.content["application/json"]?.schema).toEqual({
      type: "object",
      properties: {
        title: { type: "string", minLength: 3 },
        author: {
          type: "object",
          properties: { name: { type: "string", format: "email" } },
          required: ["name"],
        },
      },
      required: ["title", "author"],
      additionalProperties: false,
    });
  });

  it("reads params, query and body of a route that does not merge them, and its body parsers", async () => {
    const split = (await operation("put", "/v1/apart/{id}")) as Operation;
    expect(parameters(split)).toEqual(["path id", "query full"]);
    expect(Object.keys(split.requestBody?.content ?? {})).toEqual([
      "application/json",
      "application/x-www-form-urlencoded",
    ]);
    expect(split.requestBody?.content["application/json"]?.schema).toMatchObject({ required: ["text"] });
  });

  it("requires credentials if the route authenticates, and otherwise not", async () => {
    expect((await operation("put", "/v1/apart/{id}"))?.security).toEqual([{ bearer: [] }]);
    expect((await operation("get", "/v1/posts"))?.security).toEqual([]);
  });

  it("uses the action's `openapi`, and before that the alias's", async () => {
    const { put, delete: remove } = (await read()).paths["/v1/posts/{id}"] ?? {};
    expect(put?.summary).toBe("Changes a post");
    expect(remove).toMatchObject({ deprecated: true, summary: "posts.remove" });
    expect(Object.keys(remove?.responses ?? {})).toEqual(["200", "204", "422", "default"]);
    expect(await operation("get", "/v1/named")).toMatchObject({
      summary: "Named by the alias",
      tags: ["named"],
    });
    expect((await read()).tags).toEqual(expect.arrayContaining([{ name: "posts" }, { name: "named" }]));
  });

  it("describes uploads as bytes", async () => {
    const bytes = { type: "string", format: "binary" };
    const multipart = await operation("post", "/v1/files");
    expect(multipart?.requestBody?.content["multipart/form-data"]?.schema).toMatchObject({
      properties: { file: bytes },
    });
    const stream = await operation("put", "/v1/files/{name}");
    expect(stream?.requestBody?.content["application/octet-stream"]?.schema).toEqual(bytes);
  });

  it("follows services that are added and removed", async () => {
    expect(await operation("get", "/v1/auto/authors/list")).toBeUndefined();
    const service = broker.createService({
      name: "authors",
      actions: { list: { rest: "GET /list", handler } },
    });
    await eventually(async () => expect(await operation("get", "/v1/auto/authors/list")).toBeDefined());
    await broker.destroyService(service);
    await eventually(async () => expect(await operation("get", "/v1/auto/authors/list")).toBeUndefined());
  });

  it("without autoAliases, shows an alias of a service that starts later", async () => {
    const other = new ServiceBroker({ logger: false });
    const mixins = [ApiGateway as ServiceSchema, OpenApi({ info: { title: "Books", version: "1" } })];
    const routes = [{ path: "/", aliases: { "GET /books": "books.list" } }];
    const gateway = other.createService({
      name: "api",
      mixins,
      settings: { port: 0, ip: "127.0.0.1", routes },
    });
    await other.start();
    try {
      const paths = async () => {
        const response = await fetch(`${addressOf(gateway)}/openapi/openapi.json`);
        return Object.keys(((await response.json()) as Document).paths);
      };
      expect(await paths()).toEqual([]);
      other.createService({ name: "books", actions: { list: handler } });
      await eventually(async () => expect(await paths()).toEqual(["/books"]));
    } finally {
      await other.stop();
    }
  });

  it("serves its page before a placeholder that would match, and writes the title as text", async () => {
    const response = await fetch(`${url}/docs`);
    expect(response.url).toBe(`${url}/docs/`);
    expect(await response.text()).toContain("<title>Posts &#60;b&#62;</title>");
  });
});
