// What the journal does with companions and records, for tests that have no journal.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "base/companion.h"
#include "base/postgres.h"
#include "metering/books.h"
#include "metering/quotas.h"
#include "tollgate/v1/record.pb.h"

namespace tollgate::metering {

inline absl::Status InsertCompanion(base::Session& session, const base::Companion& row, std::int64_t log_id, std::int64_t index) {
  std::string names, values;
  base::Params params;
  for (std::size_t i = 0; i < row.values.size(); ++i) {
    const auto& column = row.table->columns[i];
    names += fmt::format("{}{}", i == 0 ? "" : ", ", column.name);
    values += fmt::format("{}${}::{}", i == 0 ? "" : ", ", i + 1, column.type);
    const auto* id = std::get_if<base::Blob>(&row.values[i]);  // Here, in the middle, it would travel as bytea.
    const bool uuid = id != nullptr && std::string_view(column.type) == "uuid";
    params.push_back(uuid ? base::Value(base::Uuid::FromBytes(id->bytes)->ToString()) : row.values[i]);
  }
  if (row.table->log_id_column != nullptr) {
    names += fmt::format(", {}, {}", row.table->log_id_column, row.table->leaf_index_column);
    values += fmt::format(", {}, {}", log_id, index);
  }
  return session.Run("insert companion", fmt::format("INSERT INTO {} ({}) VALUES ({})", row.table->name, names, values), params).status();
}

struct Who {
  base::Uuid org = base::Uuid::NewV7(), team = base::Uuid::NewV7(), project = base::Uuid::NewV7(), key = base::Uuid::NewV7();
};

inline v1::Record RequestOf(const Who& who, const std::string& model = "smollm2") {
  v1::Record r;
  r.set_version(1);
  r.set_kind(v1::RECORD_KIND_REQUEST);
  r.set_request_id(base::Uuid::NewV7().Bytes());
  r.set_attempt(1);
  r.set_org_id(who.org.Bytes());
  r.set_team_id(who.team.Bytes());
  r.set_project_id(who.project.Bytes());
  r.set_key_id(who.key.Bytes());
  r.mutable_request()->set_model(model);
  auto* price = r.mutable_request()->mutable_price();
  price->set_version(1);
  price->set_input_nanos_per_1000(150'000);
  price->set_cached_input_nanos_per_1000(75'000);
  price->set_output_nanos_per_1000(600'000);
  price->set_currency("EUR");
  return r;
}

inline v1::TokenCounts CountsOf(std::int64_t input, std::int64_t cached, std::int64_t output, std::int64_t delivered) {
  v1::TokenCounts t;
  t.set_input(input);
  t.set_cached_input(cached);
  t.set_output(output);
  t.set_delivered(delivered);
  return t;
}

// The FINAL of a request, at `at`.
inline v1::Record FinalOf(const v1::Record& request, base::WallTime at, const v1::TokenCounts& tokens) {
  v1::Record r = request;
  r.set_kind(v1::RECORD_KIND_FINAL);
  r.set_wall_us(base::ToMicros(at));
  r.clear_request();
  auto* end = r.mutable_end();
  *end->mutable_tokens() = tokens;
  end->mutable_price()->set_version(request.request().price().version());
  end->mutable_price()->set_currency(request.request().price().currency());
  const auto amount = AmountOf(request.request().price(), tokens);
  REQUIRE(amount.ok());
  end->set_amount_nanos(amount->nanos);
  return r;
}

// A line of a guard model, priced as above.
inline v1::GuardUsage GuardOf(const std::string& model, const v1::TokenCounts& tokens, std::int64_t version = 1) {
  v1::GuardUsage guard;
  guard.set_model(model);
  guard.set_asked(1);
  *guard.mutable_tokens() = tokens;
  *guard.mutable_price() = RequestOf({}).request().price();
  guard.mutable_price()->set_version(version);
  guard.set_amount_nanos(AmountOf(guard.price(), tokens)->nanos);
  return guard;
}

// As the journal stores it: what the record is found by is in columns and not in the message.
inline void InsertRecord(base::Session& session, const v1::Record& record, std::int64_t log_id, std::int64_t index) {
  const auto id = [](const std::string& bytes) {
    const auto uuid = base::Uuid::FromBytes(bytes);
    return uuid.ok() ? base::Value(uuid->ToString()) : base::Value();
  };
  v1::Record message = record;
  message.clear_kind();
  message.clear_attempt();
  message.clear_wall_us();
  message.clear_request_id();
  message.clear_org_id();
  message.clear_team_id();
  message.clear_project_id();
  message.clear_key_id();
  const auto row = session.Run(
      "insert record",
      "INSERT INTO audit.record (log_id, leaf_index, wall_us, day, attempt, segment, kind, request_id, org_id, team_id, project_id, "
      "key_id, leaf_hash, message) VALUES ($1::int2, $2::int8, $3::int8, date '1970-01-01' + ($3::int8 / 86400000000)::int4, $4::int4, 0, "
      "$5::int2, $6::uuid, $7::uuid, $8::uuid, $9::uuid, $10::uuid, '\\x00', $11::bytea)",
      {log_id, index, std::int64_t{record.wall_us()}, std::int64_t{record.attempt()}, std::int64_t{record.kind()}, id(record.request_id()),
       id(record.org_id()), id(record.team_id()), id(record.project_id()), id(record.key_id()), base::Blob{message.SerializeAsString()}});
  REQUIRE(row.status().ToString() == "OK");
}

// The REQUEST of a terminal record at `index`, which began a second before it; it stands far behind it, so that tests can count those.
inline void InsertRequest(base::Session& session, v1::Record request, base::WallTime ended, std::int64_t index) {
  request.set_wall_us(base::ToMicros(ended - std::chrono::seconds(1)));
  InsertRecord(session, request, 1, 1'000'000 + index);
}

// A whole request as it ends in the database: its REQUEST, its FINAL, its usage, its transfer.
inline v1::Record Serve(base::Session& session, const Who& who, base::WallTime at, const v1::TokenCounts& tokens, std::int64_t index,
                        const std::string& model = "smollm2") {
  const v1::Record request = RequestOf(who, model);
  const v1::Record end = FinalOf(request, at, tokens);
  InsertRequest(session, request, at, index);
  InsertRecord(session, end, 1, index);
  const auto rows = Settlement(request, at, tokens);
  REQUIRE(rows.ok());
  for (const auto& row : *rows) REQUIRE(InsertCompanion(session, row, 1, index).ToString() == "OK");
  return end;
}

}  // namespace tollgate::metering
