//! Tests of the mapping: vectors shared with the portable engine, random types and values, and
//! what neither can say. Every value also goes through a real guest and back.

mod arguments;
mod corpus;
mod echo;
mod output;
mod packed;
mod random;
mod random_types;
mod single;
mod units;
