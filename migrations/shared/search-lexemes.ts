/**
 * The words of a text for a search by prefixes: in lower case, without accents, split at everything but letters and
 * digits. lib/search-words.ts makes the query by the same rules.
 */
export const CREATE_SEARCH_LEXEMES = `
  CREATE OR REPLACE FUNCTION search_lexemes(source text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN array_to_tsvector(string_to_array(btrim(regexp_replace(
      regexp_replace(normalize(lower(source), NFKD), '[\\u0300-\\u036f]', '', 'g'), '[^[:alnum:]]+', ' ', 'g')), ' '))`;

export const DROP_SEARCH_LEXEMES = "DROP FUNCTION search_lexemes";
