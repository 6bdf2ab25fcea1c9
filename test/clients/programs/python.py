"""Signs in, looks at the list, orders and changes the avatar with the client of openapi-generator."""

import json
import os
import uuid

from waybill_client import ApiClient, Configuration
from waybill_client.api.account_api import AccountApi
from waybill_client.api.catalogue_api import CatalogueApi
from waybill_client.api.checkout_api import CheckoutApi
from waybill_client.api.orders_api import OrdersApi
from waybill_client.models.given_address import GivenAddress
from waybill_client.models.patch_me_request import PatchMeRequest
from waybill_client.models.post_orders_check_request import PostOrdersCheckRequest
from waybill_client.models.post_orders_confirm_request import PostOrdersConfirmRequest
from waybill_client.models.post_sessions_request import PostSessionsRequest
from waybill_client.models.wanted_line import WantedLine

task = json.loads(os.environ["TASK"])
with ApiClient(Configuration(host=task["api"])) as client:
    account = AccountApi(client)
    tokens = account.post_sessions(PostSessionsRequest(email=task["email"], password=task["password"]))
    client.configuration.access_token = tokens.access_token
    me = account.get_me()
    account.patch_me(patch_me_request=PatchMeRequest(first_name=task["new_name"], language="zh-hant"))
    with open(task["photo"], "rb") as photo:
        account.put_me_avatar(photo.read(), _content_type="image/jpeg")
    avatar = account.get_me_avatar()
    products = CatalogueApi(client).get_products(partner_id=task["partner_id"], limit=5)
    checkout = CheckoutApi(client)
    bank = next(one for one in checkout.get_banks().items if one.title == "Sandbox Pay")
    quote = checkout.post_orders_check(
        PostOrdersCheckRequest(
            partner_id=task["partner_id"],
            lines=[WantedLine(product_id=products.items[0].product_id, quantity=2)],
            address=GivenAddress(**task["address"]),
        )
    )
    order = checkout.post_orders_confirm(
        str(uuid.uuid4()), PostOrdersConfirmRequest(check_id=quote.check_id, bank_id=bank.id)
    )
    orders = OrdersApi(client)
    seen = orders.get_orders_order_id(order.order_id)
    stream = orders.get_orders_order_id_events_without_preload_content(order.order_id)
    event = next(line for line in stream if line.startswith(b"event: "))
    stream.close()

print(
    json.dumps(
        {
            "first_name": me.first_name,
            "order_id": str(order.order_id),
            "buyer": seen.customer.name,
            "avatar": bytes(avatar[:4]).decode(),
            "event": event.decode().strip(),
        }
    )
)
