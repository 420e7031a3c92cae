"""The Verilated model of an Amaranth component: conversion, build, native loop, Python face."""
