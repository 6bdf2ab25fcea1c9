import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE partners (
      id uuid PRIMARY KEY,
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
      brand text CHECK (length(brand) BETWEEN 1 AND 120),
      phone text NOT NULL CHECK (length(phone) <= 16),
      email text NOT NULL CHECK (length(email) <= 254),
      address jsonb NOT NULL CHECK (jsonb_typeof(address) = 'object' AND pg_column_size(address) <= 4096),
      api_url text CHECK (length(api_url) <= 2048),
      currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
      delivery_fee_minor bigint NOT NULL CHECK (delivery_fee_minor >= 0),
      preparation_minutes integer NOT NULL CHECK (preparation_minutes BETWEEN 1 AND 600),
      proof text NOT NULL CHECK (proof IN ('pin', 'pin_and_photo')),
      time_zone text NOT NULL DEFAULT 'UTC' CHECK (length(time_zone) <= 64),
      opening_spans jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(opening_spans) = 'array'),
      busy_until timestamptz,
      verified boolean NOT NULL DEFAULT false,
      enabled boolean NOT NULL DEFAULT true,
      webhook_enabled boolean NOT NULL DEFAULT true,
      -- Encrypted, with the partner's id as additional authenticated data.
      webhook_secret text CHECK (length(webhook_secret) <= 1024),
      webhook_previous_secret text CHECK (length(webhook_previous_secret) <= 1024),
      webhook_previous_until timestamptz,
      version integer NOT NULL DEFAULT 1 CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (id, currency),
      CHECK ((webhook_previous_secret IS NULL) = (webhook_previous_until IS NULL))
    );
    CREATE UNIQUE INDEX partners_title_key ON partners (lower(title));

    CREATE TABLE products (
      id uuid PRIMARY KEY,
      title text NOT NULL CHECK (length(title) BETWEEN 1 AND 160),
      description text CHECK (length(description) BETWEEN 1 AND 2000),
      brand text CHECK (length(brand) BETWEEN 1 AND 120),
      image_url text CHECK (length(image_url) <= 2048),
      -- The partner whose staff may change the texts. Once it no longer offers the product, only operators may.
      owner_partner_id uuid REFERENCES partners (id),
      version integer NOT NULL DEFAULT 1 CHECK (version > 0),
      -- Computed by search-words.ts, not by a text search configuration: that would stem by the rules of one
      -- language and fold letters by the locale of the database.
      words text[] NOT NULL,
      search tsvector NOT NULL GENERATED ALWAYS AS (array_to_tsvector(words)) STORED,
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX products_search_idx ON products USING gin (search);
    CREATE INDEX products_owner_idx ON products (owner_partner_id);

    -- One sequence for all offers, so that an offer that is deleted and created again has a newer version.
    CREATE SEQUENCE availability_versions AS integer;
    CREATE TABLE availability (
      partner_id uuid NOT NULL REFERENCES partners (id),
      product_id uuid NOT NULL REFERENCES products (id),
      price_minor bigint NOT NULL CHECK (price_minor > 0),
      currency text NOT NULL,
      -- Available pieces, without reserved ones. Null: the partner does not count them.
      stock integer CHECK (stock >= 0),
      active boolean NOT NULL DEFAULT true,
      version integer NOT NULL DEFAULT nextval('availability_versions') CHECK (version > 0),
      created_at timestamptz NOT NULL DEFAULT now(),
      updated_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (partner_id, product_id),
      FOREIGN KEY (partner_id, currency) REFERENCES partners (id, currency)
    );
    -- The sort order of the list over all partners. The list of one partner uses the primary key.
    CREATE INDEX availability_list_idx ON availability (product_id, partner_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("DROP TABLE availability, products, partners; DROP SEQUENCE availability_versions");
}
