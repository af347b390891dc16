//! Modules, finishes and sprites: the same on every shard.

use crate::demo::ids::{Dice, Kind, moment, money};
use crate::demo::inserts::{Batch, Target};

const THINGS: [&str; 40] = [
    "galley", "bunk", "wardrobe", "bench", "desk", "pantry", "shower", "drawer", "locker", "shelf", "table",
    "fridge", "sink", "stove", "oven", "toilet", "battery", "inverter", "heater", "cooler", "awning", "rack",
    "ladder", "bed", "sofa", "counter", "cabinet", "mirror", "lamp", "speaker", "screen", "tank", "pump",
    "filter", "vent", "window", "door", "step", "box", "crate",
];

/// Short and long.
const SIZES: [(&str, &str); 5] =
    [("xs", "tiny"), ("s", "small"), ("m", "medium"), ("l", "large"), ("xl", "extra large")];

const FINISHES: [&str; 40] = [
    "graphite", "pearl", "walnut", "oak", "birch", "ash", "maple", "cherry", "teak", "bamboo", "ivory",
    "sand", "clay", "slate", "stone", "chalk", "linen", "cotton", "wool", "felt", "copper", "brass",
    "bronze", "steel", "chrome", "nickel", "moss", "fern", "sage", "olive", "navy", "ocean", "sky", "mist",
    "rose", "coral", "amber", "honey", "cocoa", "ink",
];

const LAYERS: [&str; 3] = ["shadow", "body", "highlight"];

/// How many modules there are.
pub(super) const MODULES: usize = THINGS.len() * SIZES.len();

/// The n-th module's id, such as `mod-galley-s`.
pub(in crate::demo) fn module_id(n: usize) -> String {
    let (thing, (size, _)) = (THINGS[n / SIZES.len()], SIZES[n % SIZES.len()]);
    format!("mod-{thing}-{size}")
}

/// The n-th finish's id, such as `finish-graphite`.
pub(super) fn finish_id(n: usize) -> String {
    format!("finish-{}", FINISHES[n])
}

/// How many finishes there are.
pub(super) fn finishes_count() -> usize {
    FINISHES.len()
}

/// What the n-th module costs, in cents.
pub(super) fn base_price(n: usize) -> i64 {
    Dice::new(Kind::Module, n).below(200_000) as i64 + 9_900
}

/// What the n-th finish costs on top, in cents.
pub(super) fn surcharge(n: usize) -> i64 {
    Dice::new(Kind::Finish, n).below(20) as i64 * 500
}

pub(super) fn modules(shards: u32) -> Batch {
    let into = r#""CatalogModule" (id, sku, name, description, "basePrice", dims, "createdAt")"#;
    let rows: Vec<String> = (0..MODULES).map(module).collect();
    Target { table: "CatalogModule", into }.reference(shards, &rows)
}

fn module(n: usize) -> String {
    let (thing, (size, long)) = (THINGS[n / SIZES.len()], SIZES[n % SIZES.len()]);
    let mut dice = Dice::new(Kind::Module, n + MODULES);
    let [width, depth, height] = [0, 1, 2].map(|_| 20 + dice.below(100));
    format!(
        "'{id}', '{sku}', 'The {long} {thing}', 'A {thing} that fits the {long} bay', {price}, \
         '{{\"width\": {width}, \"depth\": {depth}, \"height\": {height}}}', '{made}'",
        id = module_id(n),
        sku = format_args!("{}-{}", thing.to_uppercase(), size.to_uppercase()),
        price = money(base_price(n)),
        made = moment(n),
    )
}

pub(super) fn finishes(shards: u32) -> Batch {
    let into = r#""CatalogFinish" (id, sku, name, hex, surcharge, "createdAt")"#;
    let rows: Vec<String> = (0..FINISHES.len()).map(finish).collect();
    Target { table: "CatalogFinish", into }.reference(shards, &rows)
}

fn finish(n: usize) -> String {
    let (id, name, sku) = (finish_id(n), FINISHES[n], FINISHES[n].to_uppercase());
    let hex = Dice::new(Kind::Finish, n + FINISHES.len()).roll() & 0xff_ffff;
    format!("'{id}', 'F-{sku}', '{name}', '#{hex:06x}', {}, '{}'", money(surcharge(n)), moment(n))
}

pub(super) fn sprites(shards: u32) -> Batch {
    let into = r#""ModuleSprite" (id, "moduleId", layer, "zIndex", "assetKey", "createdAt")"#;
    let rows: Vec<String> =
        (0..MODULES).flat_map(|n| (0..LAYERS.len()).map(move |layer| sprite(n, layer))).collect();
    Target { table: "ModuleSprite", into }.reference(shards, &rows)
}

fn sprite(n: usize, layer: usize) -> String {
    let (module, name, z, made) = (module_id(n), LAYERS[layer], layer * 10, moment(n));
    format!("'{module}-{name}', '{module}', '{name}', {z}, 'sprites/{module}/{name}.webp', '{made}'")
}
