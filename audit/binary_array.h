// BinaryArray: a Postgres array parameter in binary form, for unnest($1::type[]). Internal to audit/; pure.
// The form is that of array_recv and of each element type's own receive function: big-endian integers, bytes as they are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/companion.h"
#include "base/uuid.h"

namespace tollgate::audit {

// A type with a binary form here: Postgres's number for it, and its elements' bytes (0: any number).
struct BinaryType {
  std::string_view name;
  std::uint32_t oid;
  int width;
};

// Null for a type without a binary form here.
const BinaryType* BinaryTypeOf(std::string_view name);

// Elements are added in order; each element fits the type, which the caller sees to.
class BinaryArray {
 public:
  // `type` has a binary form; `reserve`: bytes to expect.
  BinaryArray(std::string_view type, std::size_t reserve);

  void Null();
  void Bytes(std::string_view bytes);  // text, bytea, and any type's own binary form.
  void Int(std::int64_t value);        // int2, int4, int8, date (days since 2000-01-01).
  void Id(const base::Uuid& id);       // uuid; none is NULL.
  base::Value Take();                  // Once.

 private:
  const BinaryType& type_;
  std::string out_;
  std::uint32_t count_ = 0;
  bool nulls_ = false;
};

}  // namespace tollgate::audit
