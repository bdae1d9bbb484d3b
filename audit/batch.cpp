// One statement stores a batch: a CTE moves the head if epoch, fence and next index are as believed, and every INSERT joins with it, so
// that all happens or nothing. Rows travel as one array a column, unnested side by side: the text of the statement depends only on the set
// of companion tables and stays prepared. Arrays are in Postgres's binary form (array_recv): bytes are copied, not written as text and
// parsed again, which is most of what a batch would cost otherwise. Companion columns of a type without a binary form here go as text
// arrays, before all others, because only Blobs at the end of the parameters travel in binary form.
// Tested by tests/audit/batch_test.cpp.
#include "audit/batch.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "audit/binary_array.h"
#include "audit/key_chain.h"
#include "base/encoding.h"

namespace tollgate::audit {
namespace {

constexpr std::int64_t kPostgresEpochDay = 10'957;  // 2000-01-01, from which its dates count.
constexpr int kScalars = 7;

// Dates of companions come as text.
const BinaryType* CompanionType(std::string_view name) { return name == "date" ? nullptr : BinaryTypeOf(name); }

struct Column {
  const char* name;
  const char* type;
  bool text = false;  // Sent as a text array.
};

const Column kRecordColumns[] = {
    {"leaf_index", "int8"}, {"wall_us", "int8"},    {"day", "date"},      {"attempt", "int2"},  {"segment", "int4"},
    {"kind", "int2"},       {"request_id", "uuid"}, {"org_id", "uuid"},   {"team_id", "uuid"},  {"project_id", "uuid"},
    {"key_id", "uuid"},     {"leaf_hash", "bytea"}, {"message", "bytea"}, {"content", "bytea"},
};

// The arrays of one table, and their numbers in the statement.
struct Sent {
  std::vector<Column> columns;
  std::vector<int> numbers;
};

std::vector<Column> CompanionColumns(const base::CompanionTable& table) {
  std::vector<Column> columns;
  for (const auto& column : table.columns) columns.push_back({column.name, column.type, CompanionType(column.type) == nullptr});
  columns.push_back({"tg_leaf_index", "int8"});
  return columns;
}

// Text arrays first, then binary ones, each in the order of tables and columns: the order in which the parameters are pushed.
std::vector<Sent> Number(const std::vector<const base::CompanionTable*>& tables) {
  std::vector<Sent> out;
  out.push_back({{std::begin(kRecordColumns), std::end(kRecordColumns)}, {}});
  for (const auto* table : tables) out.push_back({CompanionColumns(*table), {}});
  int next = kScalars + 1;
  for (Sent& sent : out) sent.numbers.resize(sent.columns.size());
  for (const bool text : {true, false}) {
    for (Sent& sent : out) {
      for (std::size_t c = 0; c < sent.columns.size(); ++c) {
        if (sent.columns[c].text == text) sent.numbers[c] = next++;
      }
    }
  }
  return out;
}

std::string UnnestOf(const Sent& sent) {
  std::string arrays, names;
  for (std::size_t c = 0; c < sent.columns.size(); ++c) {
    arrays += fmt::format("{}${}::{}[]", c == 0 ? "" : ", ", sent.numbers[c], sent.columns[c].type);
    names += fmt::format("{}{}", c == 0 ? "" : ", ", sent.columns[c].name);
  }
  return fmt::format("unnest({}) AS u({})", arrays, names);
}

std::string ListOf(std::span<const Column> columns, std::string_view prefix) {
  std::string out;
  for (const Column& column : columns) out += fmt::format("{}{}{}", out.empty() ? "" : ", ", prefix, column.name);
  return out;
}

std::string CompanionInsert(const base::CompanionTable& table, const Sent& sent, std::size_t number) {
  const std::span<const Column> own(sent.columns.data(), sent.columns.size() - 1);
  std::string into = ListOf(own, ""), from = ListOf(own, "u.");
  if (table.log_id_column != nullptr) {
    into += fmt::format(", {}", table.log_id_column);
    from += ", head.log_id";
  }
  if (table.leaf_index_column != nullptr) {
    into += fmt::format(", {}", table.leaf_index_column);
    from += ", u.tg_leaf_index";
  }
  return fmt::format(", companion{} AS (INSERT INTO {} ({}) SELECT {} FROM head, {})", number, table.name, into, from, UnnestOf(sent));
}

std::string TextFor(const std::vector<const base::CompanionTable*>& tables) {
  const std::vector<Sent> sent = Number(tables);
  std::string sql = fmt::format(
      "WITH head AS (UPDATE audit.log_head SET next_index = next_index + $5::int8, open_from = $6::int8, "
      "expires_at = now() + $4::int8 * interval '1 millisecond' "
      "WHERE log_id = $1::int2 AND epoch = $2::int8 AND fence = $3::int8 AND next_index = $7::int8 RETURNING log_id), "
      "records AS (INSERT INTO audit.record (log_id, {}) SELECT head.log_id, {} FROM head, {})",
      ListOf(sent[0].columns, ""), ListOf(sent[0].columns, "u."), UnnestOf(sent[0]));
  for (std::size_t i = 0; i < tables.size(); ++i) sql += CompanionInsert(*tables[i], sent[i + 1], i);
  return sql + " SELECT count(*) FROM head";
}

// Gives the last record's leaf.
base::Digest PushRecordArrays(const Head& head, std::span<const EncodedRow* const> rows, base::Params& params) {
  std::size_t message_bytes = 0, content_bytes = 0;
  for (const EncodedRow* row : rows) {
    message_bytes += row->message.size() + 4;
    content_bytes += (row->content ? row->content->size() : 0) + 4;
  }
  std::vector<BinaryArray> arrays;
  for (const Column& column : kRecordColumns) {
    const std::string_view name = column.name;
    arrays.emplace_back(column.type, name == "message" ? message_bytes : name == "content" ? content_bytes : 40 * rows.size());
  }
  std::int64_t index = head.next_index;
  base::Digest leaf{};
  for (const EncodedRow* row : rows) {
    std::size_t c = 0;
    for (const std::int64_t number : {index, row->wall_us, DayOf(base::FromMicros(row->wall_us)) - kPostgresEpochDay,
                                      std::int64_t{row->attempt}, std::int64_t{row->segment}, std::int64_t{row->kind}}) {
      arrays[c++].Int(number);
    }
    for (const base::Uuid* id : {&row->request, &row->org, &row->team, &row->project, &row->key}) arrays[c++].Id(*id);
    leaf = RecordLeaf(head.log_id, index, *row, row->content_digest, row->message);
    arrays[c++].Bytes(base::View(leaf));
    arrays[c++].Bytes(row->message);
    row->content ? arrays[c].Bytes(*row->content) : arrays[c].Null();
    ++index;
  }
  for (BinaryArray& array : arrays) params.push_back(array.Take());
  return leaf;
}

void PushTextArrays(std::span<const EncodedRow* const> rows, const base::CompanionTable& table, base::Params& params) {
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    if (CompanionType(table.columns[c].type) != nullptr) continue;
    std::vector<base::Value> items;
    for (const EncodedRow* row : rows) {
      for (const EncodedCompanion& companion : row->companions) {
        if (companion.table == &table) items.push_back(companion.texts[c]);
      }
    }
    params.push_back(base::ArrayOf(items));
  }
}

void PushBinaryArrays(const Head& head, std::span<const EncodedRow* const> rows, const base::CompanionTable& table, base::Params& params) {
  std::vector<std::optional<BinaryArray>> arrays(table.columns.size());
  for (std::size_t c = 0; c < arrays.size(); ++c) {
    if (CompanionType(table.columns[c].type) != nullptr) arrays[c].emplace(table.columns[c].type, 24 * rows.size());
  }
  BinaryArray leaves("int8", 12 * rows.size());
  std::int64_t index = head.next_index;
  for (const EncodedRow* row : rows) {
    for (const EncodedCompanion& companion : row->companions) {
      if (companion.table != &table) continue;
      for (std::size_t c = 0; c < arrays.size(); ++c) {
        if (!arrays[c]) continue;
        companion.cells[c] ? arrays[c]->Bytes(*companion.cells[c]) : arrays[c]->Null();
      }
      leaves.Int(index);
    }
    ++index;
  }
  for (auto& array : arrays) {
    if (array) params.push_back(array->Take());
  }
  params.push_back(leaves.Take());
}

absl::Status BadCompanion(const base::CompanionColumn& column) {
  return base::InvalidArgument(fmt::format("record: a companion's {} does not fit the type {}", column.name, column.type));
}

// One value in its column's binary form.
absl::StatusOr<std::optional<std::string>> CellOf(const base::Value& value, const base::CompanionColumn& column) {
  const BinaryType* type = CompanionType(column.type);
  if (type == nullptr || std::holds_alternative<std::monostate>(value)) return std::optional<std::string>();
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    const int bits = 8 * type->width - 1;
    const bool fits =
        type->name.starts_with("int") && (bits >= 63 || (*number >= -(std::int64_t{1} << bits) && *number < (std::int64_t{1} << bits)));
    if (!fits) return BadCompanion(column);
    std::string out;
    base::AppendBigEndian(out, static_cast<std::uint64_t>(*number), type->width);
    return std::optional<std::string>(std::move(out));
  }
  if (const auto* blob = std::get_if<base::Blob>(&value)) {
    const bool id = type->name == "uuid" && blob->bytes.size() == 16;
    if (!id && type->name != "bytea") return BadCompanion(column);
    return std::optional<std::string>(blob->bytes);
  }
  const auto& text = std::get<std::string>(value);
  if (type->name == "text") return std::optional<std::string>(text);
  if (type->name != "uuid") return BadCompanion(column);
  const auto id = base::Uuid::Parse(text);
  if (!id.ok()) return BadCompanion(column);
  return std::optional<std::string>(id->Bytes());
}

absl::StatusOr<EncodedCompanion> EncodeCompanion(const base::Companion& companion) {
  if (companion.table == nullptr || companion.values.size() != companion.table->columns.size()) {
    return base::InvalidArgument("record: a companion has not as many values as its table has columns");
  }
  EncodedCompanion out;
  out.table = companion.table;
  out.cells.resize(companion.values.size());
  for (std::size_t c = 0; c < companion.values.size(); ++c) {
    const base::CompanionColumn& column = companion.table->columns[c];
    TG_ASSIGN(out.cells[c], CellOf(companion.values[c], column));
    if (CompanionType(column.type) != nullptr) continue;
    out.texts.resize(companion.values.size());
    out.texts[c] = companion.values[c];
  }
  return out;
}

}  // namespace

std::size_t EncodedRow::bytes() const {
  std::size_t sum = 256 + message.size() + (content ? content->size() : 0);
  for (const auto& companion : companions) sum += 64 * companion.cells.size();
  return sum;
}

absl::StatusOr<EncodedRow> Encode(Entry&& entry, const base::Clock& clock) {
  v1::Record& record = entry.record;
  if (record.kind() == v1::RECORD_KIND_UNSPECIFIED) return base::InvalidArgument("record: kind is not set");
  record.set_version(1);
  if (record.wall_us() == 0) record.set_wall_us(base::ToMicros(clock.Wall()));
  record.set_key_commitment(entry.content ? std::move(entry.content->key_commitment) : std::string());

  EncodedRow row;
  TG_ASSIGN(static_cast<RecordColumns&>(row), ColumnsOf(record));
  const bool of_request = row.kind == v1::RECORD_KIND_REQUEST || row.kind == v1::RECORD_KIND_SEGMENT || IsTerminal(row.kind);
  if (of_request && row.request.IsNone()) return base::InvalidArgument("record: this kind needs a request_id");
  for (const base::Companion& companion : entry.companions) {
    TG_ASSIGN(EncodedCompanion encoded, EncodeCompanion(companion));
    row.companions.push_back(std::move(encoded));
  }
  row.message = MessageOf(std::move(record));
  if (entry.content) row.content = std::move(entry.content->stored);
  row.content_digest = ContentDigest(row.content);
  return row;
}

BatchStatements::Statement BatchStatements::Build(const Head& head, std::int64_t open_from, std::chrono::milliseconds claim,
                                                  std::span<const EncodedRow* const> rows) {
  Tables tables;
  for (const EncodedRow* row : rows) {
    for (const EncodedCompanion& companion : row->companions) {
      if (std::find(tables.begin(), tables.end(), companion.table) == tables.end()) tables.push_back(companion.table);
    }
  }
  std::sort(tables.begin(), tables.end());
  auto found = texts_.find(tables);
  if (found == texts_.end()) found = texts_.emplace(tables, TextFor(tables)).first;

  Statement out{&found->second, {}, {}};
  out.params = {std::int64_t{head.log_id},
                head.epoch,
                head.fence,
                std::int64_t{claim.count()},
                static_cast<std::int64_t>(rows.size()),
                open_from,
                head.next_index};
  for (const base::CompanionTable* table : tables) PushTextArrays(rows, *table, out.params);
  out.last_leaf = PushRecordArrays(head, rows, out.params);
  for (const base::CompanionTable* table : tables) PushBinaryArrays(head, rows, *table, out.params);
  return out;
}

}  // namespace tollgate::audit
