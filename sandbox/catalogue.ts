import type { Schemas } from "@waybill/client";

/** Title, price in cents, description, and pieces in stock (absent: not counted). */
type Product = readonly [title: string, priceMinor: number, description: string, stock?: number];

export interface SandboxPartner {
  /** Stable key, independent of the title. */
  key: string;
  fields: {
    title: string;
    brand?: string;
    phone: string;
    email: string;
    address: Schemas["Address"];
    currency: string;
    delivery_fee_minor: number;
    preparation_minutes: number;
    proof: "pin";
  };
  products: readonly Product[];
}

/** The city of all sandbox partners. */
const sandboxCity = "Berlin";

function address(line1: string, postalCode: string, latitude: number, longitude: number): Schemas["Address"] {
  return {
    line1,
    city: sandboxCity,
    postal_code: postalCode,
    country: "DE",
    position: { latitude, longitude },
  };
}

/** The partners of the sandbox and their products. */
export const sandboxPartners: readonly SandboxPartner[] = [
  {
    key: "bakery",
    fields: {
      title: "Backstube Morgenrot",
      brand: "Morgenrot",
      phone: "+493055501001",
      email: "hello@morgenrot.example",
      address: address("Oderberger Straße 12", "10435", 52.5402, 13.4093),
      currency: "EUR",
      delivery_fee_minor: 290,
      preparation_minutes: 10,
      proof: "pin",
    },
    products: [
      ["Sourdough loaf", 620, "Rye and wheat, baked on stone, 750 g", 40],
      ["Walnut bread", 540, "Wheat with roasted walnuts, 500 g", 25],
      ["Spelt baguette", 360, "Crisp, with a long rest", 40],
      ["Pretzel", 140, "Salted, still warm in the morning", 120],
      ["Butter croissant", 210, "Three folds of butter", 80],
      ["Almond croissant", 320, "Filled and twice baked", 40],
      ["Cinnamon roll", 290, "With cardamom and pearl sugar", 60],
      ["Pain au chocolat", 260, "Two bars of dark chocolate", 60],
      ["Poppy seed roll", 95, "Wheat roll with blue poppy", 150],
      ["Rye roll", 110, "Dark and hearty", 120],
      ["Carrot cake, slice", 380, "With cream cheese and lime", 24],
      ["Cheesecake, slice", 390, "Baked, on a thin crust", 24],
      ["Apple tart", 420, "Boskoop apples and crumble", 20],
      ["Plum crumble, slice", 350, "In season", 20],
      ["Lemon bar", 270, "Sour first, sweet after", 30],
      ["Quiche lorraine", 520, "With bacon and leek", 16],
      ["Spinach quiche", 490, "With feta, without meat", 16],
      ["Breakfast box for two", 1850, "Rolls, croissants, jam, butter and fruit", 12],
      ["Filter coffee beans", 1190, "Ethiopia, 250 g, roasted nearby"],
      ["Strawberry jam", 480, "From the garden, 220 g", 30],
    ],
  },
  {
    key: "noodles",
    fields: {
      title: "Kleiner Drache",
      brand: "Drache",
      phone: "+493055501002",
      email: "kitchen@drache.example",
      address: address("Kantstraße 41", "10625", 52.5059, 13.3187),
      currency: "EUR",
      delivery_fee_minor: 350,
      preparation_minutes: 20,
      proof: "pin",
    },
    products: [
      ["Shoyu ramen", 1390, "Soy broth, pork belly, egg, nori"],
      ["Miso ramen", 1420, "Miso broth, corn, butter, spring onion"],
      ["Tantan men", 1490, "Sesame, minced pork, chilli oil"],
      ["Vegetable ramen", 1290, "Mushroom broth, tofu, pak choi"],
      ["Dan dan noodles", 1180, "Sichuan pepper, peanuts"],
      ["Beef noodle soup", 1450, "Star anise, braised shank"],
      ["Gyoza, six pieces", 690, "Pork and cabbage, pan fried"],
      ["Vegetable gyoza, six pieces", 650, "Shiitake and glass noodles"],
      ["Bao with pork belly", 580, "Two buns, pickles, peanut"],
      ["Bao with tofu", 540, "Two buns, hoisin, cucumber"],
      ["Kimchi", 390, "Made in the house"],
      ["Edamame", 420, "With sea salt"],
      ["Cucumber salad", 450, "Smashed, garlic, vinegar"],
      ["Mapo tofu with rice", 1250, "Hot, with fermented beans"],
      ["Fried rice", 990, "Egg, peas, spring onion"],
      ["Chicken karaage", 890, "With yuzu mayonnaise"],
      ["Mochi, three pieces", 560, "Matcha, mango, black sesame"],
      ["Oolong iced tea", 380, "Unsweetened, 0.5 l"],
      ["Yuzu lemonade", 420, "0.33 l"],
      ["Jasmine rice", 250, "A bowl"],
    ],
  },
  {
    key: "grocer",
    fields: {
      title: "Markthalle Süd",
      phone: "+493055501003",
      email: "orders@markthalle-sued.example",
      address: address("Bergmannstraße 102", "10961", 52.4888, 13.3934),
      currency: "EUR",
      delivery_fee_minor: 190,
      preparation_minutes: 15,
      proof: "pin",
    },
    products: [
      ["Whole milk, 1 l", 165, "From pasture cows", 200],
      ["Oat drink, 1 l", 215, "Without added sugar", 150],
      ["Eggs, ten", 389, "Free range", 90],
      ["Salted butter, 250 g", 329, "Churned in a barrel", 100],
      ["Mountain cheese, 200 g", 620, "Ripened twelve months", 40],
      ["Feta, 180 g", 349, "Sheep and goat", 60],
      ["Tomatoes, 500 g", 279, "On the vine", 80],
      ["Cucumber", 99, "One piece", 100],
      ["Carrots, 1 kg", 179, "With their greens", 80],
      ["Potatoes, 2 kg", 299, "Waxy", 70],
      ["Bananas, 1 kg", 189, "Fairly traded", 90],
      ["Apples, 1 kg", 289, "Elstar", 90],
      ["Lemons, net", 229, "Four pieces, unwaxed", 60],
      ["Basil in a pot", 249, "Wants water", 30],
      ["Spaghetti, 500 g", 159, "Bronze drawn", 200],
      ["Olive oil, 0.5 l", 990, "First harvest", 45],
      ["Chickpeas, 400 g", 129, "Cooked", 160],
      ["Dark chocolate, 100 g", 279, "70 percent", 120],
      ["Sparkling water, six bottles", 399, "6 x 1 l", 60],
      ["Dishwashing liquid", 219, "0.5 l, without scent", 50],
    ],
  },
];

/** Opening hours: all hours of the week. */
export const alwaysOpen = {
  time_zone: "Europe/Berlin",
  spans: Array.from({ length: 7 }, (_, weekday) => ({ weekday, from_minute: 0, until_minute: 1440 })),
};
