// Signs in, looks at the list, orders and changes the avatar with the client of oapi-codegen.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/google/uuid"
	"waybill.example/program/waybill"
)

type task struct {
	Api       string               `json:"api"`
	Email     string               `json:"email"`
	Password  string               `json:"password"`
	NewName   string               `json:"new_name"`
	Photo     string               `json:"photo"`
	PartnerId uuid.UUID            `json:"partner_id"`
	Address   waybill.GivenAddress `json:"address"`
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(status int, wanted int, body []byte) {
	if status != wanted {
		panic(fmt.Sprintf("%d instead of %d: %s", status, wanted, body))
	}
}

func main() {
	var given task
	check(json.Unmarshal([]byte(os.Getenv("TASK")), &given))
	ctx := context.Background()
	token := ""
	signed := waybill.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	})
	client, err := waybill.NewClientWithResponses(given.Api, signed)
	check(err)

	tokens, err := client.PostSessionsWithResponse(ctx, waybill.PostSessionsJSONRequestBody{Email: given.Email, Password: given.Password})
	check(err)
	expect(tokens.StatusCode(), 201, tokens.Body)
	token = tokens.JSON201.AccessToken

	me, err := client.GetMeWithResponse(ctx)
	check(err)
	expect(me.StatusCode(), 200, me.Body)
	language := "zh-hant"
	changed, err := client.PatchMeWithResponse(ctx, nil, waybill.PatchMeJSONRequestBody{FirstName: &given.NewName, Language: &language})
	check(err)
	expect(changed.StatusCode(), 200, changed.Body)

	photo, err := os.ReadFile(given.Photo)
	check(err)
	uploaded, err := client.PutMeAvatarWithBodyWithResponse(ctx, "image/jpeg", bytes.NewReader(photo))
	check(err)
	expect(uploaded.StatusCode(), 200, uploaded.Body)
	avatar, err := client.GetMeAvatarWithResponse(ctx)
	check(err)
	expect(avatar.StatusCode(), 200, avatar.Body)

	limit := 5
	products, err := client.GetProductsWithResponse(ctx, &waybill.GetProductsParams{PartnerId: &given.PartnerId, Limit: &limit})
	check(err)
	expect(products.StatusCode(), 200, products.Body)
	banks, err := client.GetBanksWithResponse(ctx)
	check(err)
	var bank uuid.UUID
	for _, one := range banks.JSON200.Items {
		if one.Title == "Sandbox Pay" {
			bank = one.Id
		}
	}
	lines := []waybill.WantedLine{{ProductId: products.JSON200.Items[0].ProductId, Quantity: 2}}
	quote, err := client.PostOrdersCheckWithResponse(ctx, waybill.PostOrdersCheckJSONRequestBody{PartnerId: given.PartnerId, Lines: lines, Address: given.Address})
	check(err)
	expect(quote.StatusCode(), 200, quote.Body)
	order, err := client.PostOrdersConfirmWithResponse(ctx,
		&waybill.PostOrdersConfirmParams{IdempotencyKey: uuid.NewString()},
		waybill.PostOrdersConfirmJSONRequestBody{CheckId: quote.JSON200.CheckId, BankId: bank})
	check(err)
	expect(order.StatusCode(), 201, order.Body)
	seen, err := client.GetOrdersOrderIdWithResponse(ctx, order.JSON201.OrderId)
	check(err)
	expect(seen.StatusCode(), 200, seen.Body)

	stream, err := client.GetOrdersOrderIdEvents(ctx, order.JSON201.OrderId, nil)
	check(err)
	event := ""
	for scanner := bufio.NewScanner(stream.Body); event == "" && scanner.Scan(); {
		if strings.HasPrefix(scanner.Text(), "event: ") {
			event = scanner.Text()
		}
	}
	check(stream.Body.Close())

	check(json.NewEncoder(os.Stdout).Encode(map[string]string{
		"first_name": me.JSON200.FirstName,
		"order_id":   order.JSON201.OrderId.String(),
		"buyer":      seen.JSON200.Customer.Name,
		"avatar":     string(avatar.Body[:4]),
		"event":      event,
	}))
}
