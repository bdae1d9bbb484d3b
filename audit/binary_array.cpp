// Room for the header is kept at the front and filled in when the number of elements is known.
// Tested by tests/audit/batch_test.cpp.
#include "audit/binary_array.h"

#include <algorithm>
#include <iterator>

#include "base/encoding.h"

namespace tollgate::audit {
namespace {

constexpr BinaryType kBinaryTypes[] = {{"int8", 20, 8},    {"int4", 23, 4},  {"int2", 21, 2}, {"date", 1082, 4},
                                       {"uuid", 2950, 16}, {"bytea", 17, 0}, {"text", 25, 0}};
constexpr std::size_t kHeaderBytes = 20;

}  // namespace

const BinaryType* BinaryTypeOf(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kBinaryTypes), std::end(kBinaryTypes), [&](const BinaryType& type) { return type.name == name; });
  return found != std::end(kBinaryTypes) ? found : nullptr;
}

BinaryArray::BinaryArray(std::string_view type, std::size_t reserve) : type_(*BinaryTypeOf(type)) {
  out_.reserve(reserve + kHeaderBytes);
  out_.resize(kHeaderBytes);
}

void BinaryArray::Null() {
  ++count_;
  nulls_ = true;
  out_.append("\xff\xff\xff\xff", 4);
}

void BinaryArray::Bytes(std::string_view bytes) {
  ++count_;
  base::AppendBigEndian(out_, bytes.size(), 4);
  out_.append(bytes);
}

void BinaryArray::Int(std::int64_t value) {
  ++count_;
  base::AppendBigEndian(out_, static_cast<std::uint64_t>(type_.width), 4);
  base::AppendBigEndian(out_, static_cast<std::uint64_t>(value), type_.width);
}

void BinaryArray::Id(const base::Uuid& id) {
  if (id.IsNone()) return Null();
  Bytes({reinterpret_cast<const char*>(id.raw().data()), id.raw().size()});
}

base::Value BinaryArray::Take() {
  std::string header;
  base::AppendBigEndian(header, count_ > 0 ? 1 : 0, 4);  // Dimensions.
  base::AppendBigEndian(header, nulls_ ? 1 : 0, 4);
  base::AppendBigEndian(header, type_.oid, 4);
  if (count_ == 0) return base::Blob{std::move(header)};
  base::AppendBigEndian(header, count_, 4);
  base::AppendBigEndian(header, 1, 4);  // Lower bound.
  out_.replace(0, header.size(), header);
  return base::Blob{std::move(out_)};
}

}  // namespace tollgate::audit
