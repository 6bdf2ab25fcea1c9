// Signs in, looks at the list, orders and changes the avatar with the client of @hey-api/openapi-ts.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { client } from "./waybill/client.gen";
import {
  getBanks,
  getMe,
  getMeAvatar,
  getOrdersOrderId,
  getOrdersOrderIdEvents,
  getProducts,
  patchMe,
  postOrdersCheck,
  postOrdersConfirm,
  postSessions,
  putMeAvatar,
} from "./waybill/index";

const task = JSON.parse(process.env.TASK as string);
let token = "";
client.setConfig({ baseUrl: task.api, auth: () => token, throwOnError: true });
const throwOnError = true as const;

async function main() {
  const { data: tokens } = await postSessions({
    body: { email: task.email, password: task.password },
    throwOnError,
  });
  token = tokens.access_token;
  const { data: me } = await getMe({ throwOnError });
  await patchMe({ body: { first_name: task.new_name, language: "zh-hant" }, throwOnError });
  const photo = new Blob([readFileSync(task.photo)]);
  await putMeAvatar({ body: photo, headers: { "Content-Type": "image/jpeg" }, throwOnError });
  const { data: avatar } = await getMeAvatar({ throwOnError });
  const { data: products } = await getProducts({
    query: { partner_id: task.partner_id, limit: 5 },
    throwOnError,
  });
  const { data: banks } = await getBanks({ throwOnError });
  const bank = banks.items.find(({ title }) => title === "Sandbox Pay");
  const { data: quote } = await postOrdersCheck({
    body: {
      partner_id: task.partner_id,
      lines: [{ product_id: products.items[0]?.product_id as string, quantity: 2 }],
      address: task.address,
    },
    throwOnError,
  });
  const { data: order } = await postOrdersConfirm({
    headers: { "Idempotency-Key": randomUUID() },
    body: { check_id: quote.check_id, bank_id: bank?.id as string },
    throwOnError,
  });
  const path = { order_id: order.order_id };
  const { data: seen } = await getOrdersOrderId({ path, throwOnError });
  const ending = new AbortController();
  let event = "";
  const { stream } = await getOrdersOrderIdEvents({
    path,
    signal: ending.signal,
    onSseEvent: (told) => {
      // The block with the reconnection time is an event without a name.
      if (told.event) event ||= `event: ${told.event}`;
    },
  });
  while (event === "") await stream.next();
  ending.abort();
  process.stdout.write(
    JSON.stringify({
      first_name: me.first_name,
      order_id: order.order_id,
      buyer: seen.customer.name,
      avatar: await avatar.slice(0, 4).text(),
      event,
    }),
  );
}

void main();
